"""The application on a real port, in a thread with a loop of its own, and a proxy before it that ends TLS below `/x/y/`."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from litestar import Litestar

from taskmill.api.app import create_app
from taskmill.api.server import serve
from taskmill.plugin import Dashboard, Page, Panel, Row, Words
from taskmill.services.access import new_dev_token
from taskmill.services.platform import Platform
from tests.support import api
from tests.unit.plugin.plugins import plugin

T = TypeVar("T")


async def _rows(*_: object) -> list[Row]:
    return _ROWS


async def _fails(*_: object) -> list[Row]:
    message = "no route"
    raise OSError(message)


def taskmill_dashboard() -> Dashboard:
    """A page and a panel of a plugin, each with one that fails."""
    panels = [Panel(Words("面板", "Panel"), _rows), Panel(Words("坏了", "Broken"), _fails)]
    return Dashboard(pages=[Page("page", Words("插件的页面", "Page of a plugin"), panels)], task_panels=panels)


EXTRA = plugin("extra", taskmill_dashboard)
PREFIX = "/x/y"
_ROWS = [
    Row(Words("文字", "text"), "a page of a plugin " * 30),
    Row("json", {"n": 1}, "json"),
    Row("code", "x" * 300, "code"),
]
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length"}


class House:
    """What tests need of it: `run` does something in its loop, `url` is where it answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, platform: Platform, app: Litestar, url: str) -> None:
        self._loop = loop
        self.platform = platform
        self.app = app
        self.url = url
        self.keys = {scope: self.run(platform.keys.create(scope, [scope])).secret for scope in ("read", "write")}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the loop of the server and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@contextmanager
def standing(database_url: str, broker_url: str) -> Iterator[House]:
    """The house, on these servers; it goes in order at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="house")
    thread.start()
    ready: asyncio.Future[tuple[Platform, Litestar, int]] = asyncio.Future(loop=loop)
    stop = asyncio.Event()
    living = asyncio.run_coroutine_threadsafe(_live(database_url, broker_url, ready, stop), loop)
    try:
        platform, app, port = asyncio.run_coroutine_threadsafe(_wait(ready, living), loop).result(60)
        yield House(loop, platform, app, f"http://127.0.0.1:{port}")
    finally:
        loop.call_soon_threadsafe(stop.set)
        living.result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def _wait(ready: asyncio.Future[T], _: object) -> T:
    return await ready


async def _live(database_url: str, broker_url: str, ready: asyncio.Future[Any], stop: asyncio.Event) -> None:
    async with api.opened(database_url, broker_url, plugins={"extra": EXTRA}) as platform:
        app = create_app(platform, dev_token=new_dev_token(), beside_keys=True)
        up, ports = asyncio.Event(), list[int]()
        serving = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, ready=up, bound=ports.append))
        await up.wait()
        ready.set_result((platform, app, ports[0]))
        await serving


@contextmanager
def proxied(house: House, folder: Path) -> Iterator[str]:
    """The address of a proxy that ends TLS and serves the house below `/x/y/`."""
    entered = _proxy(house.url, _certificate(folder))
    address = house.run(entered.__aenter__())
    try:
        yield address
    finally:
        house.run(entered.__aexit__(None, None, None))


@asynccontextmanager
async def _proxy(target: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            path = request.rel_url.raw_path_qs.removeprefix(PREFIX)
            headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
            headers |= {"X-Forwarded-Proto": "https", "Host": "inside.example"}
            asked = session.request(
                request.method, target + path, headers=headers, data=await request.read(), allow_redirects=False
            )
            async with asked as answer:
                told = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP or name.lower() == "content-encoding":
                        told.headers.add(name, value)
                await told.prepare(request)
                async for chunk in answer.content.iter_any():
                    await told.write(chunk)
                await told.write_eof()
                return told

        app = web.Application()
        app.router.add_route("*", PREFIX + "/{tail:.*}", forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"https://127.0.0.1:{port}{PREFIX}"
        finally:
            await runner.cleanup()


def _certificate(folder: Path) -> ssl.SSLContext:
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
