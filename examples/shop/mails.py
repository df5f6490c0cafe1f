"""The shop's plugin: the kind of task that confirms an order by mail, and the table of orders.

The worker loads it as a plugin; the shop imports it for `confirm.request(…)`.
"""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path

import msgspec

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Manifest, Registry


class MailConfig(msgspec.Struct, frozen=True):
    """Read from `TASKMILL_PLUGIN_SHOP_*`."""

    smtp_host: str = "127.0.0.1"
    smtp_port: int = 25
    sender: str = "shop@example.com"


class Mailer:
    """Its config is known once the plugin has registered."""

    config = MailConfig()


mailer = Mailer()


@task("shop.confirm", queue="mail", timeout="30s")
def confirm(ctx: TaskContext, number: int, to: str, item: str, quantity: int) -> str:
    """Confirm an order by mail; a second attempt sends the same Message-ID, so that a reader sees one mail."""
    message = EmailMessage()
    message["From"], message["To"] = mailer.config.sender, to
    message["Subject"] = f"Your order {number}"
    message["Message-ID"] = f"<{ctx.id}@shop.example.com>"
    message.set_content(f"Thank you for ordering {quantity} × {item}.")
    with smtplib.SMTP(mailer.config.smtp_host, mailer.config.smtp_port, timeout=10) as server:
        server.send_message(message)
    return message["Message-ID"]


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is and its config type."""
    return Manifest(
        name="shop",
        version="0.1.0",
        requires_api=">=1.0,<2",
        config=MailConfig,
        title_en="Shop",
        title_zh="商店",
        summary_en="Confirms orders by mail, as an example.",
        summary_zh="示例：用邮件确认订单。",
        capabilities=frozenset({"network"}),
    )


@hookimpl
def taskmill_register(registry: Registry, config: MailConfig) -> None:
    """Add `shop.confirm`."""
    mailer.config = config
    registry.add(confirm)


@hookimpl
def taskmill_migrations() -> Path:
    """Return the folder with the table of orders."""
    return Path(__file__).parent / "shop_versions"
