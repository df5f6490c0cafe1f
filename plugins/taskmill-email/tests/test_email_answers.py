"""Whatever a server says: a mail that it took is never sent again, and no answer is lost or endless."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
import pytest

from taskmill import Discard, Retry, TaskContext
from taskmill_email.config import EmailConfig
from taskmill_email.messages import Email, Sent
from taskmill_email.plugin import send_task

pytestmark = pytest.mark.anyio


class RawServer:
    """Says to each command what the test chose, as bytes; None hangs up."""

    def __init__(self) -> None:
        self.answers: dict[bytes, bytes | None] = {}
        self.taken = 0
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        usual = {b"EHLO": b"250 here\r\n", b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(self.answers.get(b"", b"220 hello\r\n") or b"")
            while line := await reader.readline():
                verb = line[:4].strip().upper()
                await self._say(writer, self.answers.get(verb, usual.get(verb, b"250 OK\r\n")))
                if verb == b"DATA":
                    await reader.readuntil(b"\r\n.\r\n")
                    self.taken += 1
                    await self._say(writer, self.answers.get(b".", b"250 taken\r\n"))

    async def _say(self, writer: asyncio.StreamWriter, answer: bytes | None) -> None:
        if answer is None:
            writer.transport.abort()
            raise ConnectionError
        writer.write(answer)
        await writer.drain()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    server = RawServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    yield server
    server.close()
    listener.close()
    await listener.wait_closed()


async def send(raw: RawServer, context: TaskContext, timeout_s: float = 30, **args: object) -> Sent:
    config = EmailConfig(host="127.0.0.1", port=raw.port, tls="none", sender="me@x.example", timeout_s=timeout_s)
    result = await send_task(config)(Email(**{"to": ["a@x.example"], "subject": "Hi", "text": "Hello", **args}), context)
    assert raw.taken == 1
    encoded = msgspec.json.encode(result)
    assert b"\\u0000" not in encoded
    return result


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"250 re\xe7u\r\n", "re\ufffdu"),
        (b"250 a\x00b\r\n", "a\ufffdb"),
        (b"250 \xed\xa0\x80\r\n", "\ufffd\ufffd\ufffd"),
        (b"250\r\n", ""),
        (b"250-a\r\n250 b\r\n", "a\nb"),
        (b"250 " + b"\x01" * 8_000 + b"\r\n", "\x01" * 682),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_an_odd_answer_to_a_mail_that_was_taken(
    raw: RawServer, context: TaskContext, answer: bytes, said: str
) -> None:
    raw.answers[b"."] = answer
    assert (await send(raw, context)).response == said


@pytest.mark.parametrize("answer", [None, b"", b"421 no\r\n", b"999 \xff\r\n", b"nonsense\r\n", b"2" * 100_000], ids=repr)
async def test_a_farewell_that_fails_does_not_send_the_mail_again(
    raw: RawServer, context: TaskContext, answer: bytes | None
) -> None:
    raw.answers[b"QUIT"] = answer
    started = time.monotonic()
    assert (await send(raw, context)).accepted == ["a@x.example"]
    assert time.monotonic() - started < 15  # 远小于每条命令的 30 秒


async def test_an_odd_refusal_of_one_recipient(raw: RawServer, context: TaskContext) -> None:
    raw.answers[b"RCPT"] = b"550 inconnu \xe9\r\n"
    with pytest.raises(Discard, match="550 inconnu \ufffd") as caught:
        await send(raw, context)
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    ("verb", "answer", "outcome"),
    [
        (b".", b"554 non \xe9\r\n", Discard),
        (b".", b"451 \xe9\x00\r\n", Retry),
        (b"MAIL", b"550 \xe9\r\n", Discard),
        (b"", b"554 \xe9\r\n", Retry),
        (b"", b"x\r\n", Retry),
        (b"EHLO", b"250-" + b"x" * 100_000 + b"\r\n", Retry),
        (b"EHLO", b"250-x\r\n" * 100_000, Retry),
        (b"MAIL", None, Retry),
        (b".", b"\xe9\r\n", Retry),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_an_odd_answer_before_it_was_taken(
    raw: RawServer, context: TaskContext, verb: bytes, answer: bytes | None, outcome: type[Exception]
) -> None:
    raw.answers[verb] = answer
    with pytest.raises(outcome) as caught:
        await send(raw, context)
    assert str(caught.value).encode().find(b"\x00") < 0


async def test_a_cancel_does_not_wait_for_the_server(raw: RawServer, context: TaskContext) -> None:
    raw.answers[b"DATA"] = raw.answers[b"QUIT"] = b""
    started = time.monotonic()
    task = asyncio.ensure_future(send(raw, context))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await task
    assert (raw.taken, time.monotonic() - started < 15) == (0, True)
