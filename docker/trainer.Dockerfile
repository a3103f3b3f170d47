# siliang-trainer. Build from the project's root:
#   docker build -f docker/trainer.Dockerfile -t siliang/trainer .
# BASE: a Python 3.11 image; for GPUs one with torch and CUDA, such as
#   --build-arg BASE=pytorch/pytorch:2.13.0-cuda12.8-cudnn9-runtime
# TORCH_INDEX: index of torch wheels that replaces pip's own, such as PyTorch's for CPUs, whose torch is a tenth as large.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=
WORKDIR /siliang
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY trainer trainer
# With the base's own packages in sight, torch is not installed a second time.
RUN python -m venv --system-site-packages /opt/siliang \
    && if [ -n "${TORCH_INDEX}" ]; then \
        /opt/siliang/bin/pip install --no-cache-dir --index-url "${TORCH_INDEX}" "$(grep '^torch==' constraints.txt)"; \
    fi \
    && /opt/siliang/bin/pip install --no-cache-dir -c constraints.txt '.[trainer]'

FROM ${BASE}
COPY --from=build /opt/siliang /opt/siliang
ENV PATH=/opt/siliang/bin:${PATH} \
    NUMBA_CACHE_DIR=/tmp/numba
RUN siliang-trainer --help > /dev/null \
    && useradd --create-home --uid 10001 siliang \
    && install --directory --owner=siliang /data
USER 10001
WORKDIR /data
ENTRYPOINT ["siliang-trainer"]
