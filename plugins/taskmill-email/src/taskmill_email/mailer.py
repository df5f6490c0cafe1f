"""Hands one mail to the SMTP server and turns its answer into a result, a retry or the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import aiosmtplib

from taskmill import Discard, Retry, TaskContext
from taskmill.plugin import Health, storable
from taskmill_email import config as limits
from taskmill_email import reasons
from taskmill_email.compose import Letter, build
from taskmill_email.config import PORTS, EmailConfig
from taskmill_email.messages import Email, Refusal, Sent

_PERMANENT = 500  # RFC 5321：4xx 暂时，5xx 永久


async def send(mail: Email, context: TaskContext, config: EmailConfig) -> Sent:
    """Send `mail`. Retry for 4xx, lost connections and trouble with login or TLS; Discard for 5xx and bad mails."""
    letter = await asyncio.to_thread(build, mail, config, context.id, datetime.now(UTC))  # 大的正文要编码很久
    if not config.host:
        raise Retry(reasons.NO_SERVER)
    try:
        refused, response = await _hand_over(letter, config)
    except aiosmtplib.SMTPAuthenticationError as error:
        # 运维能修好，邮件不必丢
        raise Retry(reasons.LOGIN_FAILED(code=error.code, answer=_said(error.message))) from error
    except aiosmtplib.SMTPRecipientsRefused as error:
        reason = "; ".join(f"{item.recipient}: {item.code} {item.message}" for item in error.recipients)
        raise _verdict(min(item.code for item in error.recipients), reason) from error
    except aiosmtplib.SMTPConnectResponseError as error:
        raise Retry(f"{error.code} {_said(error.message)}") from error
    except aiosmtplib.SMTPResponseException as error:
        raise _verdict(error.code, error.message) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Retry(_said(f"{type(error).__name__}: {error}")) from error
    return Sent(
        message_id=letter.message_id,
        accepted=[address for address in letter.recipients if address not in refused],
        refused=[Refusal(address=address, code=item.code, message=_said(item.message)) for address, item in refused.items()],
        response=_said(response),
    )


async def check(config: EmailConfig) -> Health:
    """Say whether the server greets and lets us in; fine if no server is configured."""
    if not config.host:
        return Health(ok=True, detail=reasons.NO_SERVER_HEALTH)
    try:
        async with _client(config) as client:
            await _login(client, config)
            await client.noop()
    except (aiosmtplib.SMTPException, OSError) as error:
        return Health(ok=False, detail=_said(f"{type(error).__name__}: {error}"))
    return Health(ok=True)


async def _hand_over(letter: Letter, config: EmailConfig) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
    client = _client(config)
    try:
        await client.connect()
        await _login(client, config)
        answer = await client.sendmail(letter.sender, letter.recipients, letter.content)
        with suppress(aiosmtplib.SMTPException, OSError):  # 服务器已经收下：告别出错也不能再发一次
            await client.quit(timeout=limits.QUIT_TIMEOUT_S)
        return answer
    finally:
        client.close()


def _client(config: EmailConfig) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=config.host,
        port=config.port or PORTS[config.tls],
        timeout=config.timeout_s,
        use_tls=config.tls == "tls",
        start_tls=config.tls == "starttls",  # 服务器不支持就报错，绝不退回明文
        tls_context=config.tls_context(),
    )


async def _login(client: aiosmtplib.SMTP, config: EmailConfig) -> None:
    if config.username:
        await client.login(config.username, config.password.reveal())


def _verdict(code: int, reason: str) -> Retry | Discard:
    text = _said(f"{code} {reason}" if not reason.startswith(str(code)) else reason)
    return Discard(text) if code >= _PERMANENT else Retry(text)


def _said(text: str) -> str:
    """服务器的话可能是任何字节：邮件已经发出，不能因为它存不下而再发。"""
    return storable(text, limits.ANSWER_MAX_BYTES)[0]
