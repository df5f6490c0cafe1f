"""Once a status line was read, nothing but the status decides; and no answer blocks the worker."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64decode
from typing import Any

import msgspec
import pytest

from taskmill import Discard, Retry, TaskContext
from taskmill_http.config import HttpConfig
from taskmill_http.messages import HttpRequest, HttpResponse
from taskmill_http.plugin import request_task
from tests.support.lag import loop_lag

pytestmark = pytest.mark.anyio
OPEN = HttpConfig(allow_private=True)
STALL_MAX_S = 0.5  # 工作进程最多被一个应答占住这么久
KIB, MIB = 1024, 1024 * 1024


def answer(*headers: bytes, body: bytes = b"", status: int = 201, length: int | None = None) -> bytes:
    lines = [b"HTTP/1.1 %d Fine" % status, *headers, b"Content-Length: %d" % (len(body) if length is None else length)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def post(raw: Any, context: TaskContext, config: HttpConfig = OPEN, **args: Any) -> HttpResponse:
    """Send it, and see that it was sent once and that its result can be stored."""
    options = {"method": "POST", "timeout_s": 30, **args}
    result = await request_task(config)(HttpRequest(url=raw.url, **options), context)
    assert len(raw.requests) == 1
    encoded = msgspec.json.encode(result)
    assert len(encoded) <= context.result_max_bytes
    assert b"\\u0000" not in encoded
    return result


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        (b"Location: /caf\xe9", "Location", "/café"),
        (b'ETag: "\xff"', "ETag", '"ÿ"'),
        (b"ETag: \xc3\xa9", "ETag", "é"),
        (b"X-Request-Id: \xed\xa0\x80", "X-Request-Id", "í\xa0\x80"),
        (b"Retry-After: \xb2", "Retry-After", "²"),
        (b"Content-Type: \xff; charset=\xff", "Content-Type", "ÿ; charset=ÿ"),
    ],
    ids=str,
)
async def test_odd_bytes_in_a_header(raw: Any, context: TaskContext, header: bytes, name: str, value: str) -> None:
    raw.answer = answer(header, body=b"made")
    result = await post(raw, context)
    assert (result.status, result.headers[name], result.body) == (201, value, "made")


@pytest.mark.parametrize(
    "header", [b"Set-Cookie: a=" + b"x" * 9_000, b"X-Long: " + b"x" * 60_000, b"ETag: " + b"e" * 60_000]
)
async def test_long_header(raw: Any, context: TaskContext, header: bytes) -> None:
    raw.answer = answer(header, body=b"made")
    result = await post(raw, context)
    assert (result.body, len(result.headers.get("ETag", "")) <= 8 * KIB) == ("made", True)


@pytest.mark.parametrize(
    "head",
    [
        b"X-Far-Too-Long: " + b"x" * 100_000,
        b"\r\n".join(b"X-%d: %s" % (n, b"y" * 1_000) for n in range(1_000)),
        b"no colon here",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: minus",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4",
        b"X: a\x00b",
        b": empty",
        b"Content-Encoding: gzip\x00",
    ],
    ids=lambda head: str(head[:30]),
)
async def test_a_header_that_cannot_be_read(raw: Any, context: TaskContext, head: bytes) -> None:
    """Whether it is readable is for the parser to say: the status decides either way."""
    raw.answer = b"HTTP/1.1 201 Created\r\n" + head + b"\r\n\r\nmade"
    assert (await post(raw, context)).status == 201
    for status, outcome in ((503, Retry), (404, Discard)):
        raw.answer = b"HTTP/1.1 %d No\r\n" % status + head + b"\r\n\r\n"
        with pytest.raises(outcome, match=f"status {status}"):
            await request_task(OPEN)(HttpRequest(url=raw.url), context)


async def test_interim_answers_do_not_decide(raw: Any, context: TaskContext) -> None:
    raw.answer = (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + b"HTTP/1.1 201 Created\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"
    )
    assert (await post(raw, context)).status == 201
    raw.answer = b"HTTP/1.1 100 Continue\r\n\r\n"
    with pytest.raises(Retry, match="Disconnected"):
        await request_task(OPEN)(HttpRequest(url=raw.url), context)


@pytest.mark.parametrize("text", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 500_000, b"HTTP/1.1 20"])
async def test_no_status_line_is_retried(raw: Any, context: TaskContext, text: bytes) -> None:
    raw.answer = text
    with pytest.raises(Retry):
        await post(raw, context)


@pytest.mark.parametrize(
    ("body", "length", "hold"), [(b"half", 400, False), (b"half", 400, True), (b"half", 1 << 62, False)], ids=str
)
async def test_body_that_breaks_off(raw: Any, context: TaskContext, body: bytes, length: int, hold: bool) -> None:
    raw.answer, raw.hold = answer(body=body, length=length), hold
    result = await post(raw, context, timeout_s=1)
    assert (result.body, result.truncated, result.incomplete != "") == ("half", True, True)


async def test_broken_chunks_after_the_status(raw: Any, context: TaskContext) -> None:
    raw.answer = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n\r\n"
    assert (await post(raw, context)).status == 201


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("utf-8", b"ok\xff", "ok\ufffd"),
        ("utf-7", b"+2AA-", "+2AA-"),
        ("unicode_escape", b"\\ud800", "\\ud800"),
        ("raw_unicode_escape", b"\\ud800", "\\ud800"),
        ("punycode", b"abc-", "abc-"),
        ("idna", b"\xff.", "\ufffd."),
        ("undefined", b"abc", "abc"),
        ("utf-16", b"\xff\xfea\x00\x00\xd8", "a\ufffd"),
        ("utf-16le", b"\x00\xd8", "\ufffd"),
        ("utf-32", b"abc", "abc"),
        ('"utf-8;x"', "é".encode(), "é"),
        ("gbk", "字".encode("gbk") + b"\xff", "字\ufffd"),
        ("iso-8859-1", b"\xe9", "é"),
        ("Windows-1252", b"\x80", "€"),
        ("shift_jis", "字".encode("shift_jis"), "字"),
        ("base64", b"eA==", "eA=="),
        ("rot13", b"abc", "abc"),
        ("x" * 8_000, b"abc", "abc"),
        ("\xff", b"abc", "abc"),
        ("utf-8", b"a\x00b\xed\xa0\x80", "a\ufffdb\ufffd\ufffd\ufffd"),
    ],
)
async def test_charsets(raw: Any, context: TaskContext, charset: str, body: bytes, text: str) -> None:
    raw.answer = answer(b"Content-Type: text/plain; charset=" + charset.encode("latin-1"), body=body)
    assert (await post(raw, context)).body == text


@pytest.mark.parametrize("size", [128 * KIB, MIB])
@pytest.mark.parametrize(
    ("charset", "unit"),
    [
        *(
            (charset, b"\xff-a9")
            for charset in ("punycode", "idna", "utf-7", "unicode_escape", "utf-8", "utf-16", "undefined", "gbk", "big5")
        ),
        *(
            (charset, b"\x1b$B\xff")
            for charset in ("iso-2022-jp", "euc-jp", "euc-kr", "shift_jis", "gb18030", "koi8-r", "windows-1252")
        ),
        ("utf-8", b"\x01"),
        ("utf-8", b'"'),
        ("utf-8", b"\x00"),
    ],
)
async def test_no_body_blocks_the_loop(raw: Any, context: TaskContext, charset: str, unit: bytes, size: int) -> None:
    raw.answer = answer(b"Content-Type: text/plain; charset=" + charset.encode(), body=unit * (size // len(unit)))
    config = HttpConfig(allow_private=True, response_max_bytes=MIB)
    async with loop_lag() as lag:
        result = await post(raw, context, config, max_response_bytes=MIB)
    assert result.status == 201
    assert lag.longest_s < STALL_MAX_S


PLAIN = b"hello " * 20_000


@pytest.mark.parametrize(
    ("coding", "body", "text", "incomplete"),
    [
        ("gzip", gzip.compress(PLAIN, mtime=0), PLAIN, ""),
        ("x-gzip", gzip.compress(b"a", mtime=0) + gzip.compress(b"b", mtime=0), b"ab", ""),
        ("deflate", zlib.compress(PLAIN), PLAIN, ""),
        ("deflate", zlib.compress(PLAIN)[2:-4], PLAIN, ""),
        ("identity", b"a", b"a", ""),
        ("gzip", b"", b"", ""),
        ("gzip", b"no gzip", b"", "not gzip"),
        ("gzip", gzip.compress(b"a", mtime=0)[:-3], b"a", "too early"),
        ("gzip", gzip.compress(b"a", mtime=0) + b"rest", b"a", "follows"),
        ("deflate", b"\x78\xff\xff", b"", "not deflate"),
    ],
)
async def test_packed_bodies(raw: Any, context: TaskContext, coding: str, body: bytes, text: bytes, incomplete: str) -> None:
    raw.answer = answer(b"Content-Encoding: " + coding.encode(), body=body)
    result = await post(raw, context, max_response_bytes=MIB)
    assert (result.body.encode(), result.body_encoding) == (text, "text")
    assert incomplete in result.incomplete if incomplete else result.incomplete == ""


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "unheard-of"])
async def test_encodings_that_nobody_asked_for_are_kept_as_base64(raw: Any, context: TaskContext, coding: str) -> None:
    raw.answer = answer(b"Content-Encoding: " + coding.encode(), body=b"\x00\xff\x80made")
    result = await post(raw, context)
    assert (b64decode(result.body), result.body_encoding, coding in result.incomplete) == (
        b"\x00\xff\x80made",
        "base64",
        True,
    )
    assert b"accept-encoding: gzip, deflate\r\n" in raw.requests[0].lower()


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"x" * 200 * MIB, 1), gzip.compress(b"") * 100_000, gzip.compress(b"") + gzip.compress(b"a") * 50_000],
    ids=["bomb", "empty members", "small members"],
)
async def test_packed_bodies_do_not_block_the_loop(raw: Any, context: TaskContext, body: bytes) -> None:
    raw.answer = answer(b"Content-Encoding: gzip", body=body)
    async with loop_lag() as lag:
        assert (await post(raw, context, max_response_bytes=MIB)).status == 201
    assert lag.longest_s < STALL_MAX_S


@pytest.mark.parametrize(
    "header",
    [
        b'Set-Cookie: a="' + b"\\1" * 30_000 + b'"',
        b"Content-Type: a" + b'; a="' * 12_000,
        b"Retry-After: " + b"Mon, " * 12_000,
        b"Location: " + b"%" * 60_000,
    ],
    ids=lambda header: header[:12].decode(),
)
async def test_headers_do_not_block_the_loop(raw: Any, context: TaskContext, header: bytes) -> None:
    raw.answer = answer(header)
    async with loop_lag() as lag:
        await post(raw, context)
    assert lag.longest_s < STALL_MAX_S
    raw.answer = answer(header, status=503)
    async with loop_lag() as lag:
        with pytest.raises(Retry):
            await request_task(OPEN)(HttpRequest(url=raw.url), context)
    assert lag.longest_s < STALL_MAX_S


@pytest.mark.parametrize("body", [b"\x01", b'"', "字".encode(), b"\xff"], ids=repr)
@pytest.mark.parametrize("max_bytes", [MIB, 5_000])
async def test_the_result_fits_what_a_result_may_have(raw: Any, context: TaskContext, body: bytes, max_bytes: int) -> None:
    raw.answer = answer(b"ETag: " + b"e" * 500, body=body * (MIB // len(body)))
    context.result_max_bytes = max_bytes
    result = await post(raw, context, HttpConfig(allow_private=True, response_max_bytes=MIB), max_response_bytes=MIB)
    assert (result.truncated, max_bytes - 10 <= len(msgspec.json.encode(result)) <= max_bytes or len(result.body) > 0) == (
        True,
        True,
    )


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        (b"Mon, 01 Jan 2026 00:00:00 +99999999999999", None),
        (b"9" * 5_000, None),
        (b"9" * 60, 3600.0),
        (b"-1", None),
        (b"1.5", None),
        (b"\xb2", None),
        (b"Fri, 31 Dec 9999 23:59:59 -2359", 3600.0),
        (b"Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        (b"nan", None),
        (b"", None),
    ],
)
async def test_retry_after(raw: Any, context: TaskContext, after: bytes, seconds: float | None) -> None:
    raw.answer = answer(b"Retry-After: " + after, status=503)
    with pytest.raises(Retry, match="status 503") as caught:
        await post(raw, context)
    assert caught.value.after == seconds


@pytest.mark.parametrize(
    ("location", "path"), [(b"/\xf8", b"/%F8"), (b"/caf\xc3\xa9?a b", b"/caf%C3%A9?a%20b"), (b"x\x80y", b"/x%80y")], ids=str
)
async def test_redirect_with_odd_bytes_is_followed(raw: Any, context: TaskContext, location: bytes, path: bytes) -> None:
    raw.answer = answer(b"Location: " + location, status=302)
    with pytest.raises(Discard, match="redirects"):
        await request_task(OPEN)(HttpRequest(url=raw.url), context)
    assert raw.requests[1].split()[1] == path


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (b"http://[", "no URL"),
        (b"http://a:99999999/", "no URL"),
        (b"/" + b"x" * 9_000, "above"),
        (b"gopher://a/", "only http"),
        (b"//u:p@127.0.0.1/", "credentials"),
    ],
    ids=str,
)
async def test_redirect_to_what_cannot_be_followed(raw: Any, context: TaskContext, location: bytes, words: str) -> None:
    raw.answer = answer(b"Location: " + location, status=302)
    with pytest.raises(Discard, match=words):
        await post(raw, context)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"headers": {f"X-{n}": "v" for n in range(101)}}, "headers above"),
        ({"headers": {"X": "v" * 70_000}}, "headers above"),
        ({"headers": {"X": "a\x7f"}}, "control"),
        ({"body": "\ud800"}, "cannot be sent"),
        ({"headers": {"X": "\ud800"}}, "control"),
    ],
)
async def test_requests_that_cannot_be_sent(raw: Any, context: TaskContext, args: dict[str, Any], words: str) -> None:
    with pytest.raises(Discard, match=words):
        await post(raw, context, **args)
    assert raw.requests == []
