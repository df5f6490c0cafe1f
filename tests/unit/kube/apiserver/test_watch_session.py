"""The session of the watch layer, against a local HTTP server: who logs in how, and which requests count as lists."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config

from taskmill.kube.apiserver.kopf.session import Access, watch_session

pytestmark = pytest.mark.anyio
BASE = "/k8s/clusters/c-1"


class Server:
    """Answers everything with an empty object, `/refused` with 403, and keeps the tokens that it was shown.

    `/elsewhere` leads to the same server under another name.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        if request.path.endswith("/elsewhere"):
            raise web.HTTPFound(f"http://localhost:{self.port}/login")
        return web.json_response({}, status=403 if request.path.endswith("/refused") else 200)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.fixture
async def access(server: Server, tmp_path: Path) -> Configuration:
    """The login to that server, as if it were behind a longer path."""
    path, configuration = tmp_path / "kubeconfig", Configuration()
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.port}{BASE}"}}],
        "users": [{"name": "it", "user": {"token": "abc"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }))  # fmt: skip
    await load_kube_config(str(path), client_configuration=configuration)
    return configuration


def loading(configuration: Configuration) -> Access:
    """Return what gives this login: the official client notes KUBECONFIG when it is imported."""

    async def load() -> Configuration:
        return configuration

    return load


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", "/api/v1/pods?limit=500", ["/api/v1/pods"]),
        ("GET", "/api/v1/namespaces/here/pods?labelSelector=a%3Db", ["/api/v1/namespaces/here/pods"]),
        ("GET", "/api/v1/pods?limit=500&continue=xyz", []),
        ("GET", "/api/v1/pods?watch=true&resourceVersion=1", []),
        ("GET", "/api/v1/refused", ["/api/v1/refused"]),
        ("GET", "/api/v1/refused?watch=true", ["watch /api/v1/refused"]),
        ("POST", "/api/v1/pods", []),
    ],
)
async def test_the_first_page_of_a_list_and_a_refusal_are_told(
    server: Server, access: Configuration, method: str, path: str, told: list[str]
) -> None:
    heard: list[str] = []
    unwatched = lambda where: heard.append(f"watch {where}")  # noqa: E731
    async with watch_session(heard.append, loading(access), unwatched) as login:
        async with login.aiohttp_session.request(method, f"{login.server}{path}") as answer:
            await answer.read()
    assert heard == told
    assert server.tokens == ["Bearer abc"]


async def test_every_request_shows_the_newest_token(server: Server, access: Configuration) -> None:
    turned = itertools.count(1)

    async def turn(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = f"Bearer {next(turned)}"

    access.refresh_api_key_hook = turn
    async with watch_session(lambda _path: None, loading(access)) as login:
        for _ in range(2):
            async with login.aiohttp_session.get(f"{login.server}/api/v1/pods") as answer:
                await answer.read()
    assert server.tokens == ["Bearer 1", "Bearer 2"]


async def test_whoever_we_are_led_to_gets_no_token(server: Server, access: Configuration) -> None:
    async with (
        watch_session(lambda _path: None, loading(access)) as login,
        login.aiohttp_session.get(f"{login.server}/elsewhere") as answer,
    ):
        assert answer.url.host == "localhost"
    assert server.tokens == ["Bearer abc", ""]
