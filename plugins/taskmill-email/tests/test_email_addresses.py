"""Which texts are one address, and which domain it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from taskmill import Discard, TaskContext
from taskmill_email.addresses import parse
from taskmill_email.config import EmailConfig
from taskmill_email.messages import Email
from taskmill_email.plugin import send_task
from tests.support.lag import loop_lag

pytestmark = pytest.mark.anyio
AT_ONCE_S = 0.5


@pytest.mark.parametrize(
    ("text", "name", "spec"),
    [
        ("a@x.example", "", "a@x.example"),
        ("<a@x.example>", "", "a@x.example"),
        (" Ann  B <a@x.example> ", "Ann B", "a@x.example"),
        ('"Smith, Jan" <a@x.example>', "Smith, Jan", "a@x.example"),
        ('Hans "der Bär" Ü <a@x.example>', "Hans der Bär Ü", "a@x.example"),
        ("Ü (x) <a@x.example>", "Ü (x)", "a@x.example"),
        ("[Team] O'Hara. <a@x.example>", "[Team] O'Hara.", "a@x.example"),
        (r'"a\"b\\c" <a@x.example>', r'a"b\c', "a@x.example"),
        ("Ann<a@x.example>", "Ann", "a@x.example"),
        ("a+b!#$%&'*/?=^_`{|}~-.c@X.Example", "", "a+b!#$%&'*/?=^_`{|}~-.c@x.example"),
        ("root@localhost", "", "root@localhost"),
        ("a@[192.0.2.1]", "", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "", "a@[IPv6:2001:db8::1]"),
        ("a@mail_1.example", "", "a@mail_1.example"),
        ("a@straße.de", "", "a@xn--strae-oqa.de"),
        ("a@STRASSE.de", "", "a@strasse.de"),
        ("a@faß.example", "", "a@xn--fa-hia.example"),
        ("a@βόλος.com", "", "a@xn--nxasmm1c.com"),
        ("a@Bücher.example", "", "a@xn--bcher-kva.example"),
        ("a@例え。テスト", "", "a@xn--r8jz45g.xn--zckzah"),
        ("a@xn--strae-oqa.de", "", "a@xn--strae-oqa.de"),
    ],
)
def test_one_address(text: str, name: str, spec: str) -> None:
    found = parse(text)
    assert (found.display_name, found.addr_spec) == (name, spec)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a",
        "@",
        "a@",
        "@x",
        "a@b@c",
        "a@x.example, b@x.example",
        "a@x.example b@x.example",
        "a@x.example <b@x.example>",
        "Smith, Jan <a@x.example>",
        "A <a@x.example>, B <b@x.example>",
        "<a@x.example",
        "a@x.example>",
        "<<a@x.example>>",
        "A <a@x.example> B",
        "Team: a@x.example;",
        "Team: A <a@x.example>",
        'A" <a@x.example>',
        '"a b"@x.example',
        '"a"@x.example',
        "a..b@x.example",
        ".a@x.example",
        "a.@x.example",
        "a b@x.example",
        "a@x..example",
        "a@-x.example",
        "a@x.example.",
        "a@x y",
        "ä@x.example",
        "a@x.example (Ann)",
        "(c)a@x.example",
        "a@[192.0.2.1",
        "a@[]",
        "a@[x]",
        "a@x\u00ad.example\u0378",
        "a@☃\u200d.example",
        "a@" + "x" * 64 + ".example",
        "a@" + "x." * 130 + "x",
        "a" * 65 + "@x.example",
        "<a@x.example>\n",
        "a@x\x00.example",
        "A\u2028 <a@x.example>",
        "a@\u0663.\u0661",
        "a@x\uff0c.example",
    ],
)
def test_not_one_address(text: str) -> None:
    with pytest.raises(Discard):
        parse(text)


@pytest.mark.parametrize("piece", ["<", "(", '"', "\\", "[", "=?", "a@", "ß", ".", ",", "\u0301", " ", '"" ', "\u00ad"])
@pytest.mark.parametrize("size", [999, 5_000, 1_000_000])
def test_no_address_takes_long(piece: str, size: int) -> None:
    started = time.thread_time()
    for text in (
        piece * (size // len(piece)),
        "a@" + piece * (size // len(piece)),
        piece * (size // len(piece)) + " <a@x.example>",
    ):
        try:
            parse(text)
        except Discard:
            continue
    assert time.thread_time() - started < AT_ONCE_S


@pytest.mark.parametrize(
    "args",
    [
        {"to": ["Ann <a@x.example>"] * 3_000},
        {"bcc": ["a@x.example"] * 100_000},
        {"cc": ["<" * 5_000]},
        {"reply_to": "(" * 5_000},
        {"sender": "<" * 5_000},
        {"to": ["a@" + "ß" * 1_000_000]},
        {"text": "x" * 11_000_000},
        {"text": "x" * 6_000_000, "html": "ü" * 6_000_000},
    ],
    ids=lambda args: str(args)[:30],
)
async def test_limits_come_before_the_work(
    start: Callable[..., EmailConfig], mailbox: Any, context: TaskContext, args: dict[str, Any]
) -> None:
    config = start({"allowed_senders": ["boss@x.example"]})
    async with loop_lag() as lag:
        with pytest.raises(Discard):
            await send_task(config)(Email(**{"to": ["a@x.example"], "subject": "Hi", "text": "Hello", **args}), context)
    assert (lag.longest_s < AT_ONCE_S, mailbox.envelopes) == (True, [])


async def test_the_largest_mail_does_not_hold_up_the_loop(
    start: Callable[..., EmailConfig], mailbox: Any, context: TaskContext
) -> None:
    config = start({"max_recipients": 50}, data_size_limit=0)
    people = [f'"{"Ünal, " * 100}" <u{n}@x.example>' for n in range(50)]
    async with loop_lag() as lag:
        await send_task(config)(Email(to=people, subject="ü" * 500, text="x y" * 2_000_000), context)
    assert (lag.longest_s < AT_ONCE_S, len(mailbox.envelopes[0].rcpt_tos)) == (True, 50)


async def test_the_envelope_goes_to_the_domain_that_was_written(
    start: Callable[..., EmailConfig], mailbox: Any, context: TaskContext
) -> None:
    to = ["a@straße.de", "A@STRASSE.de", "Ann <a@Straße.de>"]
    await send_task(start({"allowed_senders": ["me@straße.de"]}))(
        Email(to=to, subject="", text="", sender="me@xn--strae-oqa.de"), context
    )
    assert mailbox.envelopes[0].rcpt_tos == ["a@xn--strae-oqa.de", "A@strasse.de"]
