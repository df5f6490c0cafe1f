"""Turns the args into the bytes of a mail, and reads them again to see that they say what was meant and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from uuid import UUID

from taskmill import Discard
from taskmill_email import headers, reasons
from taskmill_email.addresses import one_line, parse
from taskmill_email.config import EmailConfig
from taskmill_email.messages import Email

_POLICY = policy.SMTP.clone(refold_source="none", cte_type="7bit")  # 头由 headers 折好；7bit 任何服务器都收
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail ready to go: its bytes, and the envelope (recipients without repeats; bcc stands only there)."""

    content: bytes
    message_id: str
    sender: str
    recipients: list[str]


@dataclass(frozen=True, slots=True)
class _Meant:
    """信要说的话：写进去之后再读出来，必须一模一样。"""

    addresses: dict[str, list[Address]]
    texts: dict[str, str]
    bodies: dict[str, str]


def build(mail: Email, config: EmailConfig, task_id: UUID, now: datetime) -> Letter:
    """Return the letter. Discard if an address, a header, the number of recipients or the size is not acceptable."""
    _check_size(mail, config)
    sender = _sender(mail, config)
    addresses = {"From": [sender], "To": _parse(mail.to)}
    if mail.cc:
        addresses["Cc"] = _parse(mail.cc)
    if mail.reply_to is not None:
        addresses["Reply-To"] = [parse(mail.reply_to)]
    everybody = [*addresses["To"], *addresses.get("Cc", []), *_parse(mail.bcc)]
    texts = {
        "Subject": one_line(mail.subject, "subject"),
        "Date": format_datetime(now),
        "Message-ID": f"<{task_id}@{sender.domain.strip('[]')}>",
        "Auto-Submitted": "auto-generated",  # RFC 3834：避免自动回复
    }
    bodies = {"plain": mail.text, "html": mail.html}
    meant = _Meant(addresses, texts, {subtype: body for subtype, body in bodies.items() if body is not None})
    return Letter(
        content=_content(meant, config),
        message_id=texts["Message-ID"],
        sender=sender.addr_spec,
        recipients=list(dict.fromkeys(address.addr_spec for address in everybody)),
    )


def _check_size(mail: Email, config: EmailConfig) -> None:
    """先数个数与长度，再做与它们成正比的事。"""
    if len(mail.to) + len(mail.cc) + len(mail.bcc) > config.max_recipients:
        raise Discard(reasons.TOO_MANY_RECIPIENTS(limit=config.max_recipients))
    if len(mail.text or "") + len(mail.html or "") > config.max_bytes:
        raise _too_large(config)


def _sender(mail: Email, config: EmailConfig) -> Address:
    text = mail.sender or config.sender
    if not text:
        raise Discard(reasons.NO_SENDER)
    sender = parse(text)
    if text != config.sender and sender.addr_spec not in {parse(allowed).addr_spec for allowed in config.allowed_senders}:
        raise Discard(reasons.SENDER_NOT_ALLOWED(sender=repr(text)))
    return sender


def _parse(texts: Sequence[str]) -> list[Address]:
    return [parse(text) for text in texts]


def _content(meant: _Meant, config: EmailConfig) -> bytes:
    try:
        message = EmailMessage(policy=_POLICY)
        for name, values in meant.addresses.items():
            message.set_raw(name, headers.mailboxes(values, name))
        for name, value in meant.texts.items():
            message.set_raw(name, headers.text(value, name))
        _fill(message, meant.bodies)
        content = message.as_bytes()
    except (MessageError, ValueError) as error:
        raise Discard(reasons.CANNOT_BUILD(error=error)) from error
    if len(content) > config.max_bytes:
        raise _too_large(config)
    difference = _difference(content, message.keys(), meant)
    if difference:
        raise Discard(reasons.NOT_WHAT_WAS_MEANT(place=difference))
    return content


def _fill(message: EmailMessage, bodies: dict[str, str]) -> None:
    first, *others = bodies
    message.set_content(bodies[first], subtype=first, cte=_transfer(bodies[first]))
    for subtype in others:
        message.add_alternative(bodies[subtype], subtype=subtype, cte=_transfer(bodies[subtype]))


def _transfer(body: str) -> str | None:
    """正文含控制字符时不能原样走 7bit：服务器会拒收或丢字符。"""
    return "base64" if _ODD.search(body) else None


def _difference(content: bytes, names: Sequence[str], meant: _Meant) -> str:
    """读回写好的字节；与原意不符就说出是哪一处，相符则为空。"""
    read = message_from_bytes(content, policy=policy.default)
    if read.keys() != list(names) or len(set(names)) != len(names):
        return "headers"
    for name, values in meant.addresses.items():
        if [_mailbox(found) for found in read[name].addresses] != [_mailbox(address) for address in values]:
            return name
    for name, value in meant.texts.items():
        if str(read[name]) != value:
            return name
    parts = {part.get_content_subtype(): part.get_content() for part in read.walk() if not part.is_multipart()}
    same = parts.keys() == meant.bodies.keys() and all(
        _lines(parts[name]) == _lines(body) for name, body in meant.bodies.items()
    )
    return "" if same else "body"


def _mailbox(address: Address) -> tuple[str, str]:
    """旧版标准库读名字时，会在相邻的两个编码字之间多读出一个空格：空白不参与比较。"""
    return "".join(address.display_name.split()), address.addr_spec


def _lines(text: str) -> list[bytes]:
    return text.encode().rstrip(b"\r\n").splitlines()


def _too_large(config: EmailConfig) -> Discard:
    return Discard(reasons.TOO_LARGE(limit=config.max_bytes))
