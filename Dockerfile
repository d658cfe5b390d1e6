# sdsnn with Lava, on the CPU: docker build -t sdsnn . && docker run --rm -v "$PWD:/data" sdsnn demo
FROM python:3.12-slim

RUN apt-get update && apt-get install -y --no-install-recommends make g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /sdsnn
COPY . .
RUN PIP_NO_CACHE_DIR=1 make .venv
ENV PATH=/sdsnn/.venv/bin:$PATH
WORKDIR /data
ENTRYPOINT ["sdsnn"]
CMD ["--help"]
