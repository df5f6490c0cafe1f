"""What goes along with a redirect: everything within the origin, next to nothing to a stranger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from taskmill import Discard, TaskContext
from taskmill.plugin import Secret
from taskmill_http.config import HeaderSecret, HttpConfig
from taskmill_http.headers import Trust, trust
from taskmill_http.messages import HttpRequest, HttpResponse
from taskmill_http.plugin import request_task

pytestmark = pytest.mark.anyio
HEADERS = {
    "X-Api-Key": "k",
    "X-Auth-Token": "t",
    "Authorization": "b",
    "Cookie": "c",
    "X-Secret": "secret:API",
    "X-Plain": "p",
    "Accept": "text/plain",
    "Accept-Language": "de",
    "User-Agent": "mine",
    "Idempotency-Key": "own",
}
SECRETS = {"API": HeaderSecret(value=Secret("geheim"), hosts=["127.0.0.1", "localhost"])}


@pytest.fixture
async def servers() -> AsyncIterator[list[TestServer]]:
    """Two origins: what the first redirects to `?to=`, the second answers with what it received."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"method": request.method, "headers": dict(request.headers), "body": await request.text()})

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), headers={"Location": request.query["to"]})

    async with AsyncExitStack() as stack:
        running = []
        for _ in range(2):
            app = web.Application()
            app.router.add_route("*", "/echo", echo)
            app.router.add_route("*", "/redirect/{status}", redirect)
            running.append(await stack.enter_async_context(TestServer(app, host="127.0.0.1")))
        yield running


async def chain(
    context: TaskContext, *hops: tuple[TestServer, int], end: str, config: HttpConfig | None = None, **args: Any
) -> HttpResponse:
    url = URL(end)
    for server, status in reversed(hops):
        url = server.make_url(f"/redirect/{status}").with_query(to=str(url))
    options = {"headers": HEADERS, **args}
    config = config or HttpConfig(allow_private=True, secrets=SECRETS)
    return await request_task(config)(HttpRequest(url=str(url), **options), context)


def seen(result: HttpResponse) -> tuple[str, set[str], str]:
    """Return method, the task's own headers and body that arrived at the end."""
    echoed = msgspec.json.decode(result.body)
    sent = {name for name, value in echoed["headers"].items() if name in HEADERS and value in {*HEADERS.values(), "geheim"}}
    return echoed["method"], sent, echoed["body"]


HARMLESS = {"Accept", "Accept-Language", "User-Agent"}
EXTRA = {"X-Api-Key", "X-Auth-Token", "X-Plain", "Idempotency-Key"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_only_harmless_headers_reach_another_origin(
    servers: list[TestServer], context: TaskContext, status: int
) -> None:
    result = await chain(context, (servers[0], status), end=str(servers[1].make_url("/echo")))
    assert seen(result) == ("GET", HARMLESS, "")
    assert msgspec.json.decode(result.body)["headers"]["Idempotency-Key"] == str(context.id)


async def test_everything_stays_within_the_origin(servers: list[TestServer], context: TaskContext) -> None:
    result = await chain(context, (servers[0], 308), end=str(servers[0].make_url("/echo")), method="PUT", body="token")
    assert seen(result) == ("PUT", set(HEADERS), "token")


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PUT"), (302, "PUT")])
@pytest.mark.parametrize("body", [{"body": "token"}, {"json": {"token": "t"}}, {"body": ""}], ids=str)
async def test_a_body_does_not_go_to_another_origin(
    servers: list[TestServer], context: TaskContext, status: int, method: str, body: dict[str, Any]
) -> None:
    with pytest.raises(Discard, match="the body may not go"):
        await chain(context, (servers[0], status), end=str(servers[1].make_url("/echo")), method=method, **body)
    result = await chain(context, (servers[0], 303), end=str(servers[1].make_url("/echo")), method=method, **body)
    assert seen(result) == ("GET", HARMLESS, "")


async def test_listed_hosts_get_headers_and_body_but_no_secrets(servers: list[TestServer], context: TaskContext) -> None:
    config = HttpConfig(allow_private=True, secrets=SECRETS, redirect_hosts=["127.0.0.1"])
    result = await chain(
        context, (servers[0], 307), end=str(servers[1].make_url("/echo")), config=config, method="POST", body="token"
    )
    assert seen(result) == ("POST", HARMLESS | EXTRA, "token")


async def test_what_a_stranger_sends_back_stays_bare(servers: list[TestServer], context: TaskContext) -> None:
    """A stranger must not choose what the origin does with the task's credentials."""
    end = str(servers[0].make_url("/echo"))
    assert seen(await chain(context, (servers[0], 307), (servers[1], 307), end=end)) == ("GET", HARMLESS, "")


@pytest.mark.parametrize(
    ("url", "before", "expected"),
    [
        ("https://a.example/x", Trust.ORIGIN, Trust.ORIGIN),
        ("https://a.example:443/", Trust.ORIGIN, Trust.ORIGIN),
        ("https://a.example:8443/", Trust.ORIGIN, Trust.STRANGER),
        ("https://b.example/", Trust.ORIGIN, Trust.STRANGER),
        ("https://sub.a.example/", Trust.ORIGIN, Trust.STRANGER),
        ("https://friend.example/", Trust.ORIGIN, Trust.LISTED),
        ("https://a.example/", Trust.STRANGER, Trust.STRANGER),
        ("https://friend.example/", Trust.STRANGER, Trust.STRANGER),
    ],
)
def test_trust(url: str, before: Trust, expected: Trust) -> None:
    config = HttpConfig(redirect_hosts=["friend.example"])
    assert trust(URL(url), URL("https://a.example/"), before, config) is expected


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("http://a.example/", "https://a.example/", Trust.ORIGIN),
        ("http://a.example:8080/", "https://a.example/", Trust.STRANGER),
        ("http://a.example/", "https://a.example:8443/", Trust.STRANGER),
        ("https://a.example/", "http://a.example/", Trust.STRANGER),
    ],
)
def test_the_step_up_to_https_is_no_change_of_origin(begin: str, end: str, expected: Trust) -> None:
    assert trust(URL(end), URL(begin), Trust.ORIGIN, HttpConfig()) is expected
