"""The hooks of the plugin."""

from __future__ import annotations

from importlib.metadata import version

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Dashboard, Manifest, Registry, TaskDefinition
from taskmill_http import config as limits
from taskmill_http.caller import call
from taskmill_http.config import HttpConfig
from taskmill_http.messages import HttpRequest, HttpResponse
from taskmill_http.panel import PANEL


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="http",
        version=version("taskmill-http"),
        requires_api=">=1.1,<2",
        title_en="HTTP requests",
        title_zh="HTTP 请求",
        summary_en="Calls an HTTP endpoint as a task, with retries by status; private addresses are refused.",
        summary_zh="把一次 HTTP 调用作为任务执行，按状态码重试；默认拒绝内网地址。",
        config=HttpConfig,
        capabilities=frozenset({"network"}),
    )


@hookimpl
def taskmill_register(registry: Registry, config: HttpConfig) -> None:
    """Add `http.request`."""
    registry.add(request_task(config))


@hookimpl
def taskmill_dashboard() -> Dashboard:
    """Add request and answer to the page of a task."""
    return Dashboard(task_panels=[PANEL])


def request_task(config: HttpConfig) -> TaskDefinition:
    """Return the kind `http.request` under `config`."""

    @task("http.request", timeout=config.timeout_max_s + limits.TIMEOUT_MARGIN_S)
    async def request(args: HttpRequest, ctx: TaskContext) -> HttpResponse:
        """Send one HTTP request and keep the answer."""
        return await call(args, ctx, config)

    return request
