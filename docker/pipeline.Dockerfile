# One image for the Beam workers, the driver and the Flex Template launcher of `clean`. Build from the project's root:
#   docker build -f docker/pipeline.Dockerfile -t siliang/pipeline .
# Python's minor version and Beam's version must be those of the machine that submits a job.
ARG PYTHON=3.11
ARG BEAM=2.77.0
ARG LAUNCHER=20250811-rc00

FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS beam
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:${LAUNCHER} AS launcher

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /siliang
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY pipeline pipeline
# A prefix and not a virtual environment: Beam's boot makes one of its own over the system's Python and would not see it.
RUN pip install --no-cache-dir --no-warn-script-location --prefix=/install -c constraints.txt '.[pipeline,gcp]'

FROM python:${PYTHON}-slim-bookworm
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY --from=build /install /usr/local
COPY docker/template/main.py /template/main.py
# RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT: no virtual environment in boot, which would need a place that it may write to.
# NUMBA_CACHE_DIR: compiled kernels; the package's own directory belongs to root.
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py \
    NUMBA_CACHE_DIR=/tmp/numba \
    OMP_NUM_THREADS=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
RUN pip check \
    && siliang-pipeline --version \
    && useradd --create-home --uid 10001 siliang \
    && install --directory --owner=siliang /data
# Dataflow mounts /var/opt/google and /var/log/dataflow for root alone: there build with --build-arg RUN_AS=0.
ARG RUN_AS=10001
USER ${RUN_AS}
WORKDIR /data
ENTRYPOINT ["/opt/apache/beam/boot"]
