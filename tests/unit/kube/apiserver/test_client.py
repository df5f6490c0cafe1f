"""Requests of the operator, against a server that answers as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration
from prometheus_client import CollectorRegistry, Counter

from taskmill.kube.apiserver import failures as f
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.names import CONTROLLER, SCALER, STATUS

pytestmark = pytest.mark.anyio
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "ns", "uid": "u1"}}


class Api:
    """Remembers the requests; `answer` makes the next answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.answer: Callable[[], web.StreamResponse] = lambda: web.json_response(POD)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, dict(request.query), body))
        return self.answer()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def counter() -> Counter:
    return Counter("requests", "Requests.", ["verb", "code"], registry=CollectorRegistry())


@pytest.fixture
async def client(api: Api, counter: Counter) -> AsyncIterator[KubeClient]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    server = TestServer(app)
    await server.start_server()
    configuration = Configuration()
    configuration.host = str(server.make_url(""))
    made = KubeClient(configuration, counter)
    yield made
    await made.close()
    await server.close()


async def test_each_manager_applies_its_own_fields(client: KubeClient, api: Api) -> None:
    await client.apply(POD, CONTROLLER)
    await client.apply(POD, STATUS, subresource="status")
    await client.scale(k.DEPLOYMENT, "ns", "d", 3)
    forced = [(path, query) for _, path, query, _ in api.requests]
    assert forced == [
        ("/api/v1/namespaces/ns/pods/x", {"fieldManager": CONTROLLER, "force": "true"}),
        ("/api/v1/namespaces/ns/pods/x/status", {"fieldManager": STATUS, "force": "true"}),
        ("/apis/apps/v1/namespaces/ns/deployments/d/scale", {"fieldManager": SCALER, "force": "true"}),
    ]
    assert api.requests[-1][3]["spec"] == {"replicas": 3}


async def test_pages_of_a_list_are_put_together(client: KubeClient, api: Api) -> None:
    pages = iter([
        {"items": [{"metadata": {"name": "a"}}], "metadata": {"resourceVersion": "7", "continue": "more"}},
        {"items": None, "metadata": {"resourceVersion": "7"}},
    ])  # fmt: skip
    api.answer = lambda: web.json_response(next(pages))
    items, version = await client.list(k.POD, "ns")
    assert ([item["kind"] for item in items], version) == (["Pod"], "7")
    assert api.requests[1][2]["continue"] == "more"
    assert api.requests[0][2]["labelSelector"] == k.POD.selector


async def test_an_object_is_deleted_by_uid_and_may_be_gone(client: KubeClient, api: Api) -> None:
    api.answer = lambda: web.json_response({"reason": "NotFound"}, status=404)
    await client.delete(POD)
    assert api.requests[0][3]["preconditions"] == {"uid": "u1"}
    assert await client.find(k.POD, "ns", "x") is None


async def test_when_to_come_back_is_read_from_the_answer(client: KubeClient, api: Api, counter: Counter) -> None:
    api.answer = lambda: web.json_response({"reason": "TooManyRequests"}, status=429, headers={"Retry-After": "4"})
    with pytest.raises(f.TransientError) as caught:
        await client.create(POD)
    assert caught.value.retry_after_s == 4
    assert counter.labels("create", "429")._value.get() == 1


@pytest.mark.parametrize(("status", "kind"), [(200, f.TransientError), (502, f.TransientError), (403, f.ForbiddenError)])
async def test_who_answers_in_html_is_not_the_api_server(
    client: KubeClient, api: Api, status: int, kind: type[f.KubeError]
) -> None:
    api.answer = lambda: web.Response(text="<html>", status=status)
    with pytest.raises(kind):
        await client.get(k.POD, "ns", "x")


async def test_a_server_that_is_away_is_worth_another_try(counter: Counter) -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    client = KubeClient(configuration, counter)
    with pytest.raises(f.TransientError):
        await client.get(k.POD, "ns", "x")
    await client.close()
