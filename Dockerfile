# sdsnn with Lava, on the CPU: docker build -t sdsnn . && docker run --rm -v "$PWD/runs:/work/runs" sdsnn demo
FROM python:3.12-slim

RUN apt-get update && apt-get install -y --no-install-recommends make g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /sdsnn
COPY . .
RUN make .venv && rm -rf /root/.cache
ENV PATH=/sdsnn/.venv/bin:$PATH
WORKDIR /work
ENTRYPOINT ["sdsnn"]
CMD ["--help"]
