"""What arrives says exactly what was asked for: names, addresses, subjects and bodies, and no header more."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import getaddresses
from typing import Any

import pytest

from taskmill import Discard, TaskContext
from taskmill_email import compose, headers
from taskmill_email.config import EmailConfig
from taskmill_email.messages import Email, Sent
from taskmill_email.plugin import send_task

pytestmark = pytest.mark.anyio
Start = Callable[..., EmailConfig]
EXPECTED = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
]
BREAKS = [b"\r\nBcc: e@e.com", b"\nFrom: boss@x.example", b"\r\n\r\nbody", b"\rX: y", b"\x00", b"\xe2\x80\xa8X: y"]
ENCODED_WORDS = [
    "=?utf-8?q?=0d=0aBcc:_e@e.com?=",
    "=?utf-8?q?a=0AFrom:_boss@x.example?=",
    "Hi =?UTF-8?Q?=0D=0A=0D=0Abody?= there",
    "=?us-ascii?q?=0d=0aX:_y?=",
    "=?utf-8*en?q?=0d=0aX:_y?=",
    "a=?utf-8?q?=0d=0aX:_y?=b",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D0d=3D0aX=3A_y=3F=3D?=",
    "=?utf-8?q?a?=\t=?utf-8?q?=0aX:_y?=",
    "=?utf-8?q?harmless?=",
    "=?unknown?q?=0d=0aX:_y?=",
    "=?utf-8?x?=0d=0a?=",
    "=?utf-8?q?=0d=0a",
    "?= =?",
    "x" * 70 + "=?utf-8?q?=0d=0aBcc:_e@e.com?=",
    *(f"=?utf-8?b?{b64encode(text).decode()}?=" for text in BREAKS),
]


async def send(config: EmailConfig, context: TaskContext, **args: Any) -> Sent:
    return await send_task(config)(Email(**{"to": ["a@x.example"], "subject": "Hi", "text": "Hello", **args}), context)


def pairs(message: Any, header: str) -> list[tuple[str, str]]:
    """Read as RFC 2047 says: `policy.default` of older versions sees a space between two encoded words."""
    plain = message_from_bytes(message.as_bytes(policy=policy.SMTP.clone(refold_source="none")), policy=policy.compat32)[
        header
    ]
    found = [(str(make_header(decode_header(name))), spec) for name, spec in getaddresses([plain.replace("\r\n", "")])]
    assert [spec for _name, spec in found] == [address.addr_spec for address in message[header].addresses]
    return found


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize("text", [text for text in ENCODED_WORDS if "\t" not in text])
async def test_an_encoded_word_in_a_subject_is_text_like_any_other(
    start: Start, mailbox: Any, context: TaskContext, text: str
) -> None:
    await send(start(), context, subject=text)
    message = mailbox.message()
    assert (sorted(message.keys()), message["Subject"]) == (sorted(EXPECTED), text)
    assert pairs(message, "From") == [("Mill", "mill@sender.example")]
    assert message.get_content().strip() == "Hello"
    assert not any(line.lower().startswith(b"bcc") for line in mailbox.envelopes[0].content.splitlines())


@pytest.mark.parametrize("text", [text for text in ENCODED_WORDS if "\t" not in text])
async def test_an_encoded_word_in_a_name_is_text_like_any_other(
    start: Start, mailbox: Any, context: TaskContext, text: str
) -> None:
    sender = f"{quoted(text)} <boss@x.example>"
    config = start({"allowed_senders": ["boss@x.example"]})
    to = [f"{quoted(text)} <a@x.example>", f"{text.replace(':', '').replace('@', '')} <b@x.example>"]
    await send(config, context, sender=sender, to=to, cc=to[:1], reply_to=to[0])
    message = mailbox.message()
    assert sorted(set(message.keys()) - {"Cc", "Reply-To"}) == sorted(EXPECTED)
    assert pairs(message, "From") == [(text, "boss@x.example")]
    assert pairs(message, "To") == [(text, "a@x.example"), (text.replace(":", "").replace("@", ""), "b@x.example")]
    assert pairs(message, "Cc") == pairs(message, "Reply-To") == [(text, "a@x.example")]


@pytest.mark.parametrize(
    "address",
    ["=?utf-8?q?=0d=0aBcc:?=@x.example", "=?utf-8?q?a?=@x.example", "a@=?utf-8?q?x?=", "a@x.example=?utf-8?q?=0d=0a?="],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to", "sender"])
async def test_an_encoded_word_in_an_address_is_refused(
    start: Start, mailbox: Any, context: TaskContext, address: str, field: str
) -> None:
    config = start({"allowed_senders": ["boss@x.example"]})
    with pytest.raises(Discard):
        await send(config, context, **{field: address if field in {"reply_to", "sender"} else [address]})
    assert mailbox.envelopes == []


NAMES = [
    "Very Long Company Name International, Department of Something Else and More, Inc.",
    "Ünal, Ö",
    'Müller "Hans"',
    "Ü (x)",
    "Ü <b>",
    "Škoda, Jan; Úřad pro ochranu osobních údajů, oddělení vnitřních věcí a správy majetku",
    "Smith, Jan",
    'A "B" C',
    "A\\B",
    "a@b.example",
    "Team: Ann",
    "x" * 75,
    "x" * 76,
    "x" * 77,
    "x" * 900,
    "x, " * 30 + "x",
    "ü, " * 100 + "ü",
    "字" * 300,
    "🎉" * 100,
    "e\u0301" * 100,
    "()",
    '"',
    "'",
    ".",
    "[Team] Ann",
    "Ann (x",
    "_ _",
    "?",
    "a?=b",
    "=",
    "Dr. Ann B. Ü.",
    "\u00a0",
    "\u200fAnn",
    "ﬁ",
    "x" * 60 + "," + "y" * 60,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
async def test_names_arrive_as_they_were_given(start: Start, mailbox: Any, context: TaskContext, name: str) -> None:
    one, other = f"{quoted(name)} <b@x.example>", '"Ünal, Ö" <c@x.example>'
    config = start({"allowed_senders": ["boss@x.example"]})
    await send(config, context, sender=f"{quoted(name)} <boss@x.example>", to=[one, other], cc=[other, one], reply_to=one)
    message, name = mailbox.message(), " ".join(name.split())
    assert pairs(message, "From") == [(name, "boss@x.example")]
    assert pairs(message, "To") == [(name, "b@x.example"), ("Ünal, Ö", "c@x.example")]
    assert pairs(message, "Cc") == [("Ünal, Ö", "c@x.example"), (name, "b@x.example")]
    assert pairs(message, "Reply-To") == [(name, "b@x.example")]
    assert mailbox.envelopes[0].rcpt_tos == ["b@x.example", "c@x.example"]
    assert max(len(line) for line in mailbox.envelopes[0].content.split(b"\r\n")) <= 160


SUBJECTS = [
    "x" * 70 + " ü " + "y" * 70,
    "x" * 500,
    "ü" * 500,
    "字 " * 250,
    "",
    " ",
    "a  b",
    " a",
    "a ",
    "a" * 67,
    "a" * 68,
    "word " * 90,
    "Réunion d'équipe ?",
    "a?=",
    "🎉" * 250,
    "Votre commande n°4711 a été expédiée : où en est-elle ? Suivez-la dès maintenant à l'adresse indiquée",
    "\u00a0",
    "Re: [x] a, b; c <d@e>",
    "e\u0301" * 200,
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject[:20])
async def test_subjects_arrive_as_they_were_given(start: Start, mailbox: Any, context: TaskContext, subject: str) -> None:
    await send(start(), context, subject=subject)
    assert mailbox.message()["Subject"] == subject
    assert max(len(line) for line in mailbox.envelopes[0].content.split(b"\r\n")) <= 78


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        "a\r\nb\rc\nd",
        ".\n..\n.\r\n.",
        "From me\nFrom you",
        "x" * 100_000,
        "ü" * 5_000,
        "字 " * 5_000,
        "a\x00b\x1bc",
        "  a  \n\t",
        "\u2028\x85",
        "=20\n=?utf-8?q?a?=",
    ],
    ids=lambda body: repr(body[:10]),
)
async def test_bodies_arrive_as_they_were_given(start: Start, mailbox: Any, context: TaskContext, body: str) -> None:
    for args in ({"text": body}, {"text": None, "html": body}, {"text": body, "html": f"<p>{body}"}):
        await send(start(), context, **args)
        message = mailbox.message()
        got = {part.get_content_subtype(): part.get_content() for part in message.walk() if not part.is_multipart()}
        wanted = {"plain": args["text"], "html": args.get("html")}
        assert {kind: text.encode().rstrip().splitlines() for kind, text in got.items()} == {
            kind: text.encode().rstrip().splitlines() for kind, text in wanted.items() if text is not None
        }
        assert mailbox.envelopes[-1].content.isascii()


@pytest.mark.parametrize(
    "args",
    [
        {"subject": "\ud800"},
        {"text": "\ud800"},
        {"to": ["\ud800 <a@x.example>"]},
        {"subject": "a\u2029b"},
        {"subject": "a\x85b"},
    ],
)
async def test_what_no_mail_can_say_is_refused(
    start: Start, mailbox: Any, context: TaskContext, args: dict[str, Any]
) -> None:
    with pytest.raises(Discard):
        await send(start(), context, **args)
    assert mailbox.envelopes == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda value, header: f"{value}\r\nX-More: y" if header == "Subject" else value, "headers"),
        (lambda value, _header: f"{value}!", "From"),
        (lambda value, header: f"{value}\r\n\r\nbody" if header == "Auto-Submitted" else value, "headers"),
    ],
)
async def test_a_mail_that_reads_otherwise_is_never_sent(
    start: Start, mailbox: Any, context: TaskContext, monkeypatch: pytest.MonkeyPatch, broken: Any, words: str
) -> None:
    """The last guard: whatever writes a header wrongly, the bytes are read again before they go."""
    monkeypatch.setattr(headers, "text", broken)
    with pytest.raises(Discard, match=f"not say what was meant: {words}"):
        await send(start(), context)
    assert mailbox.envelopes == []


async def test_a_lost_recipient_is_noticed(
    start: Start, mailbox: Any, context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = headers.mailboxes
    monkeypatch.setattr(compose.headers, "mailboxes", lambda values, header: real(values[:1], header))
    with pytest.raises(Discard, match="meant: To"):
        await send(start(), context, to=["a@x.example", "b@x.example"])
    assert mailbox.envelopes == []
