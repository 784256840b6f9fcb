# One image for all of Tocsin's Python services: exporter, router, init, gate and the demo. The house stands at /app as it
# does in a checkout (tocsin/paths.py finds configuration and runbooks beside the packages).
#
# Tags are those of tocsin/stack/pins.py (BUILD_IMAGES); a test compares them.
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM docker.io/library/python:3.13.9-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/app/.venv \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1
WORKDIR /app
# Dependencies first: they change seldom, so this layer is kept while the code changes.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project
COPY tocsin tocsin
COPY exporters exporters
COPY alert_rules alert_rules
COPY alert_router alert_router
COPY dashboards dashboards
COPY demo demo
RUN uv sync --frozen --no-dev && python -m compileall -q tocsin exporters alert_rules alert_router dashboards demo
COPY prometheus prometheus
COPY alertmanager alertmanager
COPY collector collector
COPY loki loki
COPY tempo tempo
COPY docs docs
COPY tocsin.yaml ./
# A clone made under a strict umask must not become an image that its own user cannot read.
RUN chmod -R a+rX /app

FROM docker.io/library/python:3.13.9-slim-bookworm
# Nothing that installs or builds stays in the image that runs. Each folder under /data is where a named volume is
# mounted: a new volume takes the owner of the folder, so that everything runs as 10001 and nothing needs root.
RUN pip uninstall --yes --quiet --root-user-action=ignore pip \
    && rm -rf /usr/local/lib/python3.13/ensurepip \
    && groupadd --gid 10001 tocsin \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tocsin \
    && for folder in rendered secrets/grafana router/secrets \
           data/prometheus data/alertmanager data/collector data/loki data/tempo data/grafana; \
       do mkdir -p "/data/$folder"; done \
    && chown -R 10001:10001 /data \
    && chmod -R 0750 /data
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
CMD ["tocsin", "--help"]
