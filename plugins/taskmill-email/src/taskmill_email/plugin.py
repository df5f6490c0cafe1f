"""The hooks of the plugin."""

from __future__ import annotations

from importlib.metadata import version

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Health, Manifest, Registry, TaskDefinition
from taskmill_email import config as limits
from taskmill_email.config import EmailConfig
from taskmill_email.mailer import check
from taskmill_email.mailer import send as deliver
from taskmill_email.messages import Email, Sent


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="email",
        version=version("taskmill-email"),
        requires_api=">=1.0,<2",
        title_en="Email",
        title_zh="邮件",
        summary_en="Sends plain and HTML mail over SMTP as a task; the Message-ID stays the same on every attempt.",
        summary_zh="把发送邮件（纯文本与 HTML）作为任务执行；每次尝试的 Message-ID 不变。",
        config=EmailConfig,
        capabilities=frozenset({"network"}),
    )


@hookimpl
def taskmill_register(registry: Registry, config: EmailConfig) -> None:
    """Add `email.send`."""
    registry.add(send_task(config))


@hookimpl
async def taskmill_health(config: EmailConfig) -> Health:
    """Ask the server."""
    return await check(config)


def send_task(config: EmailConfig) -> TaskDefinition:
    """Return the kind `email.send` under `config`."""

    @task("email.send", timeout=limits.TASK_TIMEOUT_S)
    async def send(args: Email, ctx: TaskContext) -> Sent:
        """Send one mail over SMTP."""
        return await deliver(args, ctx, config)

    return send
