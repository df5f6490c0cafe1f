"""The description of the API: complete, in our error shape, and true under fire."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest
from litestar.routes import HTTPRoute

from taskmill.api.app import create_app
from taskmill.services.platform import Platform
from taskmill.states import State
from tests.support import api
from tests.support.api import KIND, data, finish
from tests.support.api import client as client_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The services, on servers of this test."""
    async with api.opened(database_url, broker_url) as found:
        yield found


async def _document(platform: Platform) -> dict[str, Any]:
    async with client_of(create_app(platform)) as client:
        document: dict[str, Any] = (await client.get("/schema/openapi.json")).json()
    return document


async def test_every_route_is_described(platform: Platform) -> None:
    document = await _document(platform)
    tags = {tag["name"] for tag in document["tags"]}
    operations = {
        (method, path): operation for path, methods in document["paths"].items() for method, operation in methods.items()
    }
    for where, operation in operations.items():
        assert re.fullmatch(r"[a-z][A-Za-z]+", operation["operationId"]), where
        assert operation["summary"], where
        assert operation["description"], where
        assert set(operation["tags"]) <= tags, where
        assert operation["tags"], where
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(ids) == len(set(ids))
    routes = {
        (method.lower(), re.sub(r":\w+}", "}", route.path))
        for route in create_app(platform).routes
        if isinstance(route, HTTPRoute) and not route.path.startswith(("/schema", "/dashboard"))
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    assert routes == set(operations)


async def test_errors_have_the_shape_of_the_envelope(platform: Platform) -> None:
    document = await _document(platform)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            statuses = set(operation["responses"])
            assert {"500", "503"} <= statuses, where
            assert ("401" in statuses) == ("security" in operation), where
            assert ("security" in operation) == (path not in {"/healthz", "/readyz"}), where
            for status, answer in operation["responses"].items():
                if not status.startswith("2"):
                    assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Failure"}, where


async def test_every_reference_leads_somewhere(platform: Platform) -> None:
    document = await _document(platform)
    names = set(re.findall(r"#/components/schemas/([\w.\-]+)", str(document)))
    assert names <= set(document["components"]["schemas"])
    assert not [name for name in document["components"]["schemas"] if "." in name or "_" in name]


async def test_examples_fit_their_schemas(platform: Platform) -> None:
    document = await _document(platform)
    examples = [
        content
        for methods in document["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for content in answer.get("content", {}).values()
        if "example" in content
    ]
    assert examples
    for content in examples:
        schema = {**content["schema"], "components": document["components"]}
        jsonschema_rs.validator_for(schema).validate(content["example"])


async def test_real_answers_fit_their_schemas(platform: Platform) -> None:
    document = await _document(platform)
    async with api.api(platform) as client:
        done, bad, live = [data(await client.post("/api/v1/tasks", json={"kind": KIND}), 201)["id"] for _ in range(3)]
        await finish(platform, done, State.COMPLETED, result=b"[1]")
        await finish(platform, bad, State.DISCARDED)
        for path, template in [
            ("/api/v1/tasks", None),
            (f"/api/v1/tasks/{live}", "/api/v1/tasks/{task_id}"),
            (f"/api/v1/tasks/{done}", "/api/v1/tasks/{task_id}"),
            (f"/api/v1/tasks/{live}/explain", "/api/v1/tasks/{task_id}/explain"),
            (f"/api/v1/tasks/{bad}/explain", "/api/v1/tasks/{task_id}/explain"),
            ("/api/v1/tasks/none/explain", "/api/v1/tasks/{task_id}/explain"),
            (f"/api/v1/tasks/{done}/result", "/api/v1/tasks/{task_id}/result"),
            (f"/api/v1/tasks/{bad}/attempts", "/api/v1/tasks/{task_id}/attempts"),
            (f"/api/v1/tasks/{live}/result", "/api/v1/tasks/{task_id}/result"),
            ("/api/v1/tasks/none", "/api/v1/tasks/{task_id}"),
            ("/api/v1/queues", None),
            ("/api/v1/queues/default", "/api/v1/queues/{queue}"),
            ("/api/v1/scaling/default", "/api/v1/scaling/{queue}"),
            ("/api/v1/kinds", None),
            (f"/api/v1/kinds/{KIND}", "/api/v1/kinds/{kind}"),
            ("/api/v1/plugins", None),
            ("/api/v1/workers", None),
            ("/api/v1/stats", None),
            ("/api/v1/stats/series?minutes=5", "/api/v1/stats/series"),
            ("/api/v1/stats/series?minutes=0", "/api/v1/stats/series"),
            ("/api/v1/failures", None),
            ("/api/v1/failures/none", "/api/v1/failures/{fingerprint}"),
            ("/healthz", None),
            ("/readyz", None),
        ]:
            answer = await client.get(path)
            operation = document["paths"][template or path]["get"]
            schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
            jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(answer.json())
