"""Nothing inside the network can be reached unless the operator allows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from taskmill import Discard, TaskContext
from taskmill_http import addresses
from taskmill_http.config import HttpConfig
from taskmill_http.messages import HttpRequest
from taskmill_http.plugin import request_task

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2002:808:808::", True),
        ("fec0::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("4000::1", False),
        ("192.88.99.1", False),
        ("192.0.0.8", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
        ("64:ff9b::c058:6301", False),
        ("100::1", False),
        ("2001:db8::1", False),
        ("2001:0:808:808::1", False),
        ("::7f00:1", False),
        ("::808:808", False),
    ],
)
def test_public(address: str, public: bool) -> None:
    assert addresses.is_public(address) is public


@pytest.fixture
async def hits() -> list[str]:
    return []


@pytest.fixture
async def server(hits: list[str]) -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response(text="inside")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as running:
        yield running


DISGUISED = [
    "2130706433",
    "127.1",
    "127.0.1",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "00000",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "127.0.0.1.",
    "2130706433.",
    "%31%32%37.0.0.1",
    "127.0.0.01",
    "0X7F.0.0.1",
    "127\u30020.0.1",
    "127\uff0e0.0.1",
]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "LOCALHOST", *DISGUISED])
async def test_inside_is_refused_and_never_contacted(
    server: TestServer, hits: list[str], context: TaskContext, host: str
) -> None:
    with pytest.raises(Discard):
        await request_task(HttpConfig())(HttpRequest(url=f"http://{host}:{server.port}/"), context)
    assert hits == []


@pytest.mark.parametrize("host", [*DISGUISED, "134744072", "\uff18.8.8.8", "8.8.8.8."])
def test_disguised_addresses_are_refused_by_the_guard_itself(host: str) -> None:
    """Older versions of aiohttp would connect to them without asking the resolver."""
    with pytest.raises(addresses.ForbiddenAddressError, match="disguised"):
        addresses.parse(f"http://{host}/")
    with pytest.raises(addresses.ForbiddenAddressError):
        addresses.check_url(URL(f"http://{host}/", encoded=True), allow_private=False)


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("straße.de", "xn--strae-oqa.de"),
        ("stra%C3%9Fe.de", "xn--strae-oqa.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("Example.COM", "example.com"),
    ],
)
def test_a_name_is_asked_for_by_the_rules_it_was_registered_by(host: str, asked: str) -> None:
    """IDNA 2008: by the rules of 2003 `straße.de` is `strasse.de`, which belongs to somebody else."""
    assert addresses.parse(f"https://{host}:8443/a?b=c").raw_host == asked


@pytest.mark.parametrize("host", ["a\u200db.com", "straße☃.de", "☃.net", "a\u200d.example"])
def test_a_name_that_cannot_be_registered_is_refused(host: str) -> None:
    with pytest.raises(addresses.ForbiddenAddressError, match="IDNA 2008"):
        addresses.parse(f"https://{host}/")


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1111]", "a.example", "1.2.3.4.example", "127-1.example", "0x7f.example", "straße.de"]
)
def test_names_and_plain_addresses_are_taken(host: str) -> None:
    addresses.check_url(addresses.parse(f"http://{host}:8080/"), allow_private=False)


@pytest.mark.parametrize("host", ["a" * 600, "ä" * 8_000, "1." * 4_000, "%41" * 2_000], ids=lambda host: host[:4])
def test_long_hosts_are_refused_before_they_are_looked_at(host: str) -> None:
    with pytest.raises(addresses.ForbiddenAddressError, match="above"):
        addresses.parse(f"http://{host}/")


@pytest.mark.parametrize(
    "to", ["http://2130706433:{}/", "http://127.1:{}/", "//\uff11\uff12\uff17.0.0.1:{}/", "http://127.0.0.1.:{}/"]
)
async def test_redirect_to_a_disguised_address_is_refused(
    hits: list[str], server: TestServer, raw: Any, context: TaskContext, to: str
) -> None:
    raw.answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to.format(server.port).encode() + b"\r\n\r\n"
    with pytest.raises(Discard, match="disguised"):
        await request_task(HttpConfig(allow_private=True))(HttpRequest(url=raw.url), context)
    assert hits == []


async def test_redirect_to_the_inside_is_refused(
    server: TestServer, hits: list[str], context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first hop stands for a public host; the guard itself is the real one from the second hop on."""

    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://[::ffff:127.0.0.1]:{server.port}/secret"})

    app = web.Application()
    app.router.add_get("/", redirect)
    async with TestServer(app, host="127.0.0.1") as outside:
        real = addresses.is_public
        monkeypatch.setattr(addresses, "is_public", lambda text: text == "127.0.0.1" or real(text))
        with pytest.raises(Discard, match="not a public address"):
            await request_task(HttpConfig())(HttpRequest(url=str(outside.make_url("/"))), context)
    assert hits == []


@pytest.mark.parametrize("url", ["ftp://a/", "file:///etc/passwd", "/relative", "http://user:pw@a.example/", "http://"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises((addresses.ForbiddenAddressError, ValueError)):
        addresses.check_url(URL(url), allow_private=True)


async def test_allowed_by_configuration(server: TestServer, hits: list[str], context: TaskContext) -> None:
    result = await request_task(HttpConfig(allow_private=True))(HttpRequest(url=str(server.make_url("/in"))), context)
    assert (result.body, hits) == ("inside", ["/in"])
