# The servers of rtcmesh: signaling and relay on one port. The command is the one that the tests run as a plain process.
FROM python:3.13-slim

RUN useradd --system --no-create-home rtcmesh
WORKDIR /opt/rtcmesh
COPY pyproject.toml README.md LICENSE ./
COPY signaling signaling
COPY relay relay
COPY peer peer
COPY netem netem
RUN pip install --no-cache-dir ".[server]"

USER rtcmesh
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz')"]
CMD ["rtcmesh", "serve", "--host", "0.0.0.0", "--port", "8080", "--log-format", "json", "--log-level", "info"]
