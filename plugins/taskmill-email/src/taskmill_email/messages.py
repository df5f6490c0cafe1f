"""Args and result of `email.send`, and the message that is built from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, getaddresses
from typing import Annotated
from unicodedata import category
from uuid import UUID

import msgspec

from taskmill import Discard
from taskmill_email import config as limits
from taskmill_email.config import EmailConfig


class Email(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One mail: `text`, `html` or both. Addresses are `a@b.example` or `Name <a@b.example>`.

    `sender` must be one of the configured senders; without it the default one is used.
    """

    to: Annotated[list[str], msgspec.Meta(min_length=1)]
    subject: Annotated[str, msgspec.Meta(max_length=limits.SUBJECT_MAX_CHARS)]
    text: str | None = None
    html: str | None = None
    cc: list[str] = []
    bcc: list[str] = []
    reply_to: str | None = None
    sender: str | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.html is None:
            raise ValueError("give text, html or both / text 与 html 至少给一个")


class Refusal(msgspec.Struct, kw_only=True):
    """A recipient that the server did not take, while it took others."""

    address: str
    code: int
    message: str


class Sent(msgspec.Struct, kw_only=True):
    """What the server took. `message_id` is the same for every attempt of the task."""

    message_id: str
    accepted: list[str]
    refused: list[Refusal]
    response: str


def build(mail: Email, config: EmailConfig, task_id: UUID, now: datetime) -> tuple[EmailMessage, str, list[str]]:
    """Return the message, the envelope sender and the envelope recipients (without repeats; bcc only there).

    Discard if an address, a header or the size is not acceptable.
    """
    sender_name, sender = _address(_sender(mail, config))
    recipients = list(dict.fromkeys(_address(text)[1] for text in (*mail.to, *mail.cc, *mail.bcc)))
    if len(recipients) > config.max_recipients:
        raise Discard(f"more than {config.max_recipients} recipients / 收件人超过 {config.max_recipients} 个")
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = formataddr((sender_name, sender))
        message["To"] = _header(mail.to)
        if mail.cc:
            message["Cc"] = _header(mail.cc)
        if mail.reply_to is not None:
            message["Reply-To"] = _header([mail.reply_to])
        message["Subject"] = _one_line(mail.subject, "subject")
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{task_id}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834：避免自动回复
        _fill(message, mail)
    except (MessageError, ValueError) as error:
        raise Discard(f"the mail cannot be built / 邮件无法生成: {error}") from error
    if len(message.as_bytes()) > config.max_bytes:
        raise Discard(f"the mail is above {config.max_bytes} bytes / 邮件超过 {config.max_bytes} 字节")
    return message, sender, recipients


def _fill(message: EmailMessage, mail: Email) -> None:
    if mail.text is not None:
        message.set_content(mail.text)
        if mail.html is not None:
            message.add_alternative(mail.html, subtype="html")
    elif mail.html is not None:
        message.set_content(mail.html, subtype="html")


def _sender(mail: Email, config: EmailConfig) -> str:
    sender = mail.sender or config.sender
    if not sender:
        raise Discard("no sender: set TASKMILL_PLUGIN_EMAIL_SENDER / 没有发件人")
    if sender != config.sender and _address(sender)[1] not in config.allowed_senders:
        raise Discard(f"sender {sender!r} is not allowed / 不允许的发件人")
    return sender


def _one_line(text: str, field: str) -> str:
    """换行能在邮件里插入别的头；其余控制字符也没有正当用途。"""
    if any(category(char) == "Cc" for char in text) or len(text.splitlines()) > 1:
        raise Discard(f"{field} contains control characters / {field} 含控制字符")
    return text


def _address(text: str) -> tuple[str, str]:
    found = getaddresses([_one_line(text, "address")])
    if len(found) != 1:  # 一项里写了几个地址：不能悄悄丢掉后面的
        raise Discard(f"not one address: {text!r} / 不是单个邮件地址")
    name, spec = found[0]
    try:
        parsed = Address(addr_spec=spec)
    except (MessageError, ValueError, IndexError) as error:
        raise Discard(f"not an address: {text!r} / 不是邮件地址") from error
    # 本地部分要求 ASCII；域名转为 punycode，任何服务器都收
    try:
        domain = parsed.domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise Discard(f"not an address: {text!r} / 不是邮件地址") from error
    if not parsed.username.isascii() or not domain or spec.count("@") != 1 or " " in spec:
        raise Discard(f"not an address: {text!r} / 不是邮件地址")
    return name, f"{parsed.username}@{domain}"


def _header(texts: Sequence[str]) -> str:
    return ", ".join(formataddr(_address(text)) for text in texts)
