"""`email.send` against a real SMTP server (aiosmtpd) on the loopback."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import AuthResult

from taskmill import Discard, Retry, TaskContext
from taskmill.plugin import Secret
from taskmill_email.config import EmailConfig
from taskmill_email.mailer import check
from taskmill_email.messages import Email, Sent
from taskmill_email.plugin import send_task

pytestmark = pytest.mark.anyio
ME = "Mill <mill@sender.example>"


Start = Callable[..., EmailConfig]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [  # noqa: S607
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def send(config: EmailConfig, context: TaskContext, **args: Any) -> Sent:
    return await send_task(config)(Email(**{"to": ["a@x.example"], "subject": "Hi", "text": "Hello", **args}), context)


async def test_plain_and_html(start: Start, mailbox: Any, context: TaskContext) -> None:
    result = await send(
        start(),
        context,
        to=["Änne <a@x.example>", "b@x.example"],
        cc=["c@x.example"],
        bcc=["d@x.example", "a@x.example"],
        subject="报告 für März",
        text="你好",
        html="<p>你好</p>",
        reply_to="r@x.example",
    )
    message = mailbox.message()
    assert mailbox.envelopes[0].mail_from == "mill@sender.example"
    assert mailbox.envelopes[0].rcpt_tos == result.accepted == ["a@x.example", "b@x.example", "c@x.example", "d@x.example"]
    assert (message["Subject"], message["Reply-To"], message["Bcc"]) == ("报告 für März", "r@x.example", None)
    assert message["To"].addresses[0].display_name == "Änne"
    assert message["Message-ID"] == result.message_id == f"<{context.id}@sender.example>"
    assert message.get_body(("plain",)).get_content().strip() == "你好"
    assert message.get_body(("html",)).get_content().strip() == "<p>你好</p>"
    assert (result.refused, msgspec.json.encode(result) != b"") == ([], True)


async def test_html_alone(start: Start, mailbox: Any, context: TaskContext) -> None:
    await send(start(), context, text=None, html="<b>x</b>")
    assert mailbox.message().get_content_type() == "text/html"


async def test_message_id_is_the_same_on_every_attempt(start: Start, context: TaskContext) -> None:
    config = start()
    assert (await send(config, context)).message_id == (await send(config, context)).message_id


@pytest.mark.parametrize(
    "args",
    [
        {"subject": "Hi\r\nBcc: v@x.example"},
        {"subject": "Hi\nX: y"},
        {"subject": "a\u2028b"},
        {"to": ["a@x.example\r\nBcc: v@x.example"]},
        {"to": ["A\n <a@x.example>"]},
        {"cc": ["nobody"]},
        {"bcc": ["a@b@c"]},
        {"to": ["a@x.example, b@x.example"]},
        {"to": [""]},
        {"to": ["ä@x.example"]},
        {"reply_to": "r@x.example\r\nX: y"},
        {"sender": "boss@x.example"},
        {"to": [f"u{n}@x.example" for n in range(51)]},
        {"text": "x" * 11_000_000},
    ],
    ids=lambda args: str(args)[:40],
)
async def test_refused_before_anything_is_sent(
    start: Start, mailbox: Any, context: TaskContext, args: dict[str, Any]
) -> None:
    with pytest.raises(Discard):
        await send(start(), context, **args)
    assert mailbox.envelopes == []


async def test_allowed_sender(start: Start, mailbox: Any, context: TaskContext) -> None:
    await send(start({"allowed_senders": ["boss@x.example"]}), context, sender="Boss <boss@x.example>")
    assert mailbox.envelopes[0].mail_from == "boss@x.example"


@pytest.mark.parametrize(("answer", "outcome"), [("451 later", Retry), ("452 full", Retry), ("554 spam", Discard)])
async def test_answer_to_the_message(
    start: Start, mailbox: Any, context: TaskContext, answer: str, outcome: type[Exception]
) -> None:
    mailbox.data_answer = answer
    with pytest.raises(outcome, match=answer):
        await send(start(), context)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [(["550 no", "550 no"], Discard), (["450 busy", "550 no"], Retry), (["450 busy", "450 busy"], Retry)],
)
async def test_all_recipients_refused(
    start: Start, mailbox: Any, context: TaskContext, answers: list[str], outcome: type[Exception]
) -> None:
    mailbox.answers = dict(zip(["a@x.example", "b@x.example"], answers, strict=True))
    with pytest.raises(outcome, match=r"a@x\.example"):
        await send(start(), context, to=["a@x.example", "b@x.example"])


async def test_one_recipient_refused(start: Start, mailbox: Any, context: TaskContext) -> None:
    mailbox.answers = {"b@x.example": "550 no such user"}
    result = await send(start(), context, to=["a@x.example", "b@x.example"])
    assert result.accepted == ["a@x.example"]
    assert [(item.address, item.code) for item in result.refused] == [("b@x.example", 550)]


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # 隐式 TLS 时 aiosmtpd 不知道已加密
@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_tls_with_login(
    start: Start, mailbox: Any, context: TaskContext, certificate: tuple[Path, Path], tls: str
) -> None:
    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"mill", b"geheim"), handled=False)

    options: dict[str, Any] = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": tls == "starttls"}
    key = "tls_context" if tls == "starttls" else "ssl_context"
    facts = {"tls": tls, "ca_file": certificate[0], "username": "mill", "password": Secret("geheim")}
    config = start(facts, **{key: server_context(certificate)}, **options)
    await send(config, context)
    assert len(mailbox.envelopes) == 1
    assert (await check(config)).ok
    wrong = msgspec.structs.replace(config, password=Secret("wrong"))
    with pytest.raises(Retry, match="login failed"):
        await send(wrong, context)
    with pytest.raises(Retry, match=r"(?i)certificate"):
        await send(msgspec.structs.replace(config, ca_file=None), context)
    assert len(mailbox.envelopes) == 1


async def test_no_fall_back_to_plain_text(start: Start, mailbox: Any, context: TaskContext) -> None:
    with pytest.raises(Retry):
        await send(start({"tls": "starttls"}), context)
    assert mailbox.envelopes == []


async def test_server_away(start: Start, context: TaskContext) -> None:
    config = msgspec.structs.replace(start(), port=1)
    with pytest.raises(Retry):
        await send(config, context)
    assert not (await check(config)).ok
    with pytest.raises(Retry, match="EMAIL_HOST"):
        await send(EmailConfig(sender=ME), context)
    assert (await check(EmailConfig())).ok


@pytest.mark.parametrize("facts", [{"tls": "none", "username": "u", "password": Secret("p")}, {"username": "u"}])
def test_bad_configuration(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"TLS|username"):
        EmailConfig(**facts)


def test_a_mail_needs_a_body() -> None:
    with pytest.raises(msgspec.ValidationError, match="text, html"):
        msgspec.json.decode(b'{"to":["a@b.example"],"subject":""}', type=Email)
