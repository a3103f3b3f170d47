# siliang-trainer. Build from the project's root:
#   docker build -f docker/trainer.Dockerfile -t siliang/trainer .
FROM python:3.11-slim
WORKDIR /siliang
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY trainer trainer
RUN pip install --no-cache-dir -c constraints.txt '.[trainer]'
RUN useradd --create-home siliang
USER siliang
ENV NUMBA_CACHE_DIR=/tmp/numba
ENTRYPOINT ["siliang-trainer"]
