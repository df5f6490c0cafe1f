"""Routes of plugins: under their own prefix, behind the same door, errors in the same shape."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import pytest
from litestar import Router, get, post

import taskmill.plugin as contract
from taskmill.api.app import create_app
from taskmill.plugin.host import PluginHost
from taskmill.plugin.manifest import Manifest
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.api import client as client_of
from tests.support.api import refusal

pytestmark = pytest.mark.anyio
T = TypeVar("T")


@get("/hello", operation_id="pluginHello", summary="Say hello")
async def hello() -> dict[str, str]:
    """Say hello."""
    return {"hello": "world"}


class Item(msgspec.Struct, Generic[T]):
    """Something generic: its title is made of module paths."""

    value: T


@get("/items")
async def items() -> Item[Item[int]]:
    """List items."""
    return Item(Item(1))


@post("/items/{number:int}", guards=[])
async def put_item(number: int, data: Item[int]) -> Item[int]:
    """Put an item."""
    return data


@post("/break", operation_id="pluginBreak", summary="Break", guards=[])
async def break_down(data: dict[str, int]) -> None:
    """Break down."""
    raise RuntimeError(data)


class Greeter:
    """A plugin with routes."""

    @contract.hookimpl
    def taskmill_manifest(self) -> Manifest:
        """Say who it is."""
        return Manifest(
            name="greeter",
            version="1",
            requires_api=">=1.0",
            title_en="Greeter",
            title_zh="问候",
            summary_en="Greets.",
            summary_zh="问候。",
        )

    @contract.hookimpl
    def taskmill_routes(self, config: Any) -> list[Router]:
        """Bring the routes."""
        return [Router("/", route_handlers=[hello, break_down, items, put_item])]


async def test_routes_of_plugins_are_mounted_behind_the_same_door(database_url: str, broker_url: str) -> None:
    settings = api.settings(database_url, broker_url, plugins_allow=["greeter"])
    platform = await Platform.open(settings, PluginHost.load(settings, {"greeter": Greeter()}, env={}))
    try:
        app = create_app(platform)
        reader = await platform.keys.create("reader", ["read"])
        async with client_of(app) as anonymous:
            refusal(await anonymous.get("/plugins/greeter/hello"), 401, "UNAUTHORIZED")
            refusal(await anonymous.post("/plugins/greeter/break", json={}), 401, "UNAUTHORIZED")
            document = (await anonymous.get("/schema/openapi.json")).json()
        for path, method in (("hello", "get"), ("items", "get"), ("items/{number}", "post"), ("break", "post")):
            operation = document["paths"][f"/plugins/greeter/{path}"][method]
            assert operation["security"] == [{"key": []}], path
            assert {"401", "403", "500", "503"} <= set(operation["responses"]), path
        titles = [schema.get("title", "") for schema in document["components"]["schemas"].values()]
        assert [title for title in titles if "." in title] == []
        async with client_of(app, reader.secret) as client:
            assert (await client.get("/plugins/greeter/hello")).json() == {"hello": "world"}
            refusal(await client.post("/plugins/greeter/break", json={"a": 1}), 403, "FORBIDDEN")
        async with api.api(platform) as client:
            refusal(await client.post("/plugins/greeter/break", json={"a": 1}), 500, "INTERNAL")
            for raw, status, code in [
                (b"{", 400, "MALFORMED_JSON"),
                (b'{"a":"\xff"}', 400, "MALFORMED_JSON"),
                (b'{"a":"x"}', 422, "INVALID_REQUEST"),
                (b"[" * 50_000, 422, "ARGS_TOO_DEEP"),
                (b" " * (8 * 1024 * 1024 + 1), 413, "BODY_TOO_LARGE"),
            ]:
                refusal(
                    await client.post("/plugins/greeter/break", content=raw, headers={"Content-Type": "application/json"}),
                    status,
                    code,
                )
            refusal(await client.get("/plugins/greeter/none"), 404, "ROUTE_NOT_FOUND")
            page = api.data(await client.get("/api/v1/plugins"))
        assert {plugin["name"]: plugin["state"] for plugin in page["items"]}["greeter"] == "loaded"
    finally:
        await platform.close()


class Broken:
    """A plugin whose routes Litestar refuses."""

    @contract.hookimpl
    def taskmill_manifest(self) -> Manifest:
        """Say who it is."""
        return Manifest(
            name="broken", version="1", requires_api=">=1.0", title_en="B", title_zh="坏", summary_en="B.", summary_zh="坏。"
        )

    @contract.hookimpl
    def taskmill_routes(self) -> list[Any]:
        """Bring nonsense."""
        return ["not a router"]


async def test_routes_that_litestar_refuses_fail_their_plugin_and_nobody_else(database_url: str, broker_url: str) -> None:
    settings = api.settings(database_url, broker_url, plugins_allow=["greeter", "broken"])
    host = PluginHost.load(settings, {"broken": Broken(), "greeter": Greeter()}, env={})
    platform = await Platform.open(settings, host)
    try:
        async with api.api(platform) as client:
            assert (await client.get("/plugins/greeter/hello")).status_code == 200
        states = {info.name: (info.state.value, info.error) for info in host.plugins()}
        assert states["greeter"] == ("loaded", None)
        assert states["broken"][0] == "failed"
        assert states["broken"][1] is not None
    finally:
        await platform.close()
