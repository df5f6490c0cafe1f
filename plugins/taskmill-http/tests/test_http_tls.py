"""Certificates are mended by operators: a bad one is a retry that says so, and nothing is sent."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from taskmill import Retry, TaskContext
from taskmill_http.config import HttpConfig
from taskmill_http.messages import HttpRequest
from taskmill_http.plugin import request_task

pytestmark = pytest.mark.anyio


def make(folder: Path, name: str, days: int) -> tuple[Path, Path]:
    """Return a certificate of its own for `name` and its key."""
    cert, key, request, extra = (folder / file for file in ("cert.pem", "key.pem", "request.pem", "extra"))
    extra.write_text(f"subjectAltName={name}\n", encoding="utf-8")
    new = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", str(key), "-out", str(request)]
    sign = ["-in", str(request), "-signkey", str(key), "-days", str(days), "-extfile", str(extra), "-out", str(cert)]
    for command in (["req", "-new", *new], ["x509", "-req", *sign]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)  # noqa: S607
    return cert, key


@pytest.fixture
async def hits() -> list[str]:
    return []


@pytest.fixture
async def serve(hits: list[str]) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def start(pair: tuple[Path, Path]) -> TestServer:
            async def answer(request: web.Request) -> web.Response:
                hits.append(request.path)
                return web.Response(text="safe")

            app = web.Application()
            app.router.add_post("/", answer)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
            server = TestServer(app, host="127.0.0.1", scheme="https")
            await server.start_server(ssl=context)
            stack.push_async_callback(server.close)
            return server

        yield start


def trust(monkeypatch: pytest.MonkeyPatch, cert: Path) -> None:
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=cert))


async def post(url: str, context: TaskContext) -> str:
    return (await request_task(HttpConfig(allow_private=True))(HttpRequest(url=url, method="POST"), context)).body


@pytest.mark.parametrize(
    ("name", "days", "trusted", "words"),
    [
        ("IP:127.0.0.1", 2, False, r"self-signed|self signed"),
        ("IP:127.0.0.1", -1, True, "expired"),
        ("IP:127.0.0.2", 2, True, r"IP address mismatch"),
        ("DNS:other.example", 2, True, "mismatch"),
    ],
)
async def test_bad_certificate_is_a_retry_that_says_so(
    serve: Callable[..., Any],
    hits: list[str],
    context: TaskContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    days: int,
    trusted: bool,
    words: str,
) -> None:
    pair = make(tmp_path, name, days)
    if trusted:
        trust(monkeypatch, pair[0])
    server = await serve(pair)
    with pytest.raises(Retry, match=f"certificate of 127.0.0.1.*(?:{words})"):
        await post(f"https://127.0.0.1:{server.port}/", context)
    assert hits == []


async def test_the_attempt_after_the_certificate_was_mended_succeeds(
    serve: Callable[..., Any], context: TaskContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make(tmp_path, "IP:127.0.0.1", 2)
    server = await serve(pair)
    with pytest.raises(Retry, match="certificate"):
        await post(f"https://127.0.0.1:{server.port}/", context)
    trust(monkeypatch, pair[0])
    assert await post(f"https://127.0.0.1:{server.port}/", context) == "safe"


async def test_a_server_without_tls_is_a_retry_too(raw: Any, context: TaskContext) -> None:
    raw.answer, raw.hasty = b"HTTP/1.1 200 OK\r\n\r\n", True
    with pytest.raises(Retry, match=r"TLS with 127\.0\.0\.1"):
        await post(raw.url.replace("http:", "https:"), context)
