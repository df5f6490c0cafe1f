# syntax=docker/dockerfile:1
# 一个镜像，所有角色：docker run taskmill api | worker | scheduler | operator | migrate up

FROM python:3.11-slim-bookworm AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/taskmill \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock README.md CHANGELOG.md LICENSE ./
COPY migrations ./migrations
COPY crds ./crds
COPY plugins ./plugins
COPY platform ./platform
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --all-packages --extra operator

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="taskmill" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/taskmill/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TASKMILL_API_HOST=0.0.0.0 \
    TASKMILL_LOG_FORMAT=json
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin taskmill
COPY --from=build /opt/taskmill /opt/taskmill
USER 10001:10001
WORKDIR /tmp
EXPOSE 8800
STOPSIGNAL SIGTERM
ENTRYPOINT ["taskmill"]
CMD ["--help"]
