# 一个镜像，所有角色：docker run taskmill api | worker | scheduler | operator | migrate up

FROM python:3.11-slim-bookworm AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/taskmill \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml uv.lock README.md CHANGELOG.md LICENSE ./
COPY migrations ./migrations
COPY crds ./crds
COPY plugins ./plugins
COPY platform ./platform
# 测试数据的生成器是 litestar 的依赖，文档没有自动示例就用不到
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --all-packages --extra operator \
    --no-install-package faker --no-install-package polyfactory
# Kubernetes 客户端按名字才加载的一千多个生成模块与调试符号：控制器与各角色都用不到（docs/adr/0032）
RUN find "$UV_PROJECT_ENVIRONMENT" -type f -regex '.*/kubernetes/\(aio/\)?client/\(api\|models\)/.*' ! -name '__init__*' -delete && \
    find "$UV_PROJECT_ENVIRONMENT" -type f -name '*.so' -exec strip --strip-unneeded {} +

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
