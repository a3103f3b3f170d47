# Beam worker and driver of siliang-pipeline. Build from the project's root:
#   docker build -f docker/pipeline.Dockerfile -t siliang/pipeline .
# The Python minor version and the Beam version must be those of the machine that submits the job.
FROM python:3.11-slim
COPY --from=apache/beam_python3.11_sdk:2.77.0 /opt/apache/beam /opt/apache/beam
WORKDIR /siliang
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY pipeline pipeline
RUN pip install --no-cache-dir -c constraints.txt '.[pipeline,gcp]' && pip check
# numba caches compiled kernels here when the package's own directory cannot be written.
ENV NUMBA_CACHE_DIR=/tmp/numba
ENTRYPOINT ["/opt/apache/beam/boot"]
