"""A list that is kept up to date by a watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from tests.cluster.kubelet.api import Api, ApiError, Json

RETRY_S = 0.5
Listener = Callable[[Json, bool], None]  # 对象，是否已经没了


class Informer:
    """All objects of one list by (namespace, name); `listener(object, gone)` hears of every change."""

    def __init__(self, api: Api, path: str, listener: Listener | None = None, **params: str) -> None:
        self.items: dict[tuple[str, str], Json] = {}
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._listener = listener or _ignore
        self._params = params

    async def run(self) -> None:
        """List and watch for ever; a server that is away is asked again."""
        while True:
            with suppress(ApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError):
                version = await self._list()
                self.synced.set()
                while True:
                    version = await self._watch(version)
            await asyncio.sleep(RETRY_S)

    async def _list(self) -> str:
        answer = await self._api.get(self._path, **self._params)
        found = {key_of(item): item for item in answer["items"]}
        for key in self.items.keys() - found.keys():
            self._listener(self.items.pop(key), True)
        for key, item in found.items():
            before = self.items.get(key)
            if before is not None and uid_of(before) != uid_of(item):
                self._listener(before, True)
            self.items[key] = item
            self._listener(item, False)
        return answer["metadata"]["resourceVersion"]

    async def _watch(self, version: str) -> str:
        async for event in self._api.watch(self._path, resourceVersion=version, **self._params):
            item = event["object"]
            if event["type"] == "ERROR":
                raise ApiError(item.get("code", 500), item)
            version = item["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            gone = event["type"] == "DELETED"
            if gone:
                self.items.pop(key_of(item), None)
            else:
                self.items[key_of(item)] = item
            self._listener(item, gone)
        return version


def _ignore(item: Json, gone: bool) -> None:
    """Be the listener of those who only want the list."""


def key_of(item: Json) -> tuple[str, str]:
    """Return (namespace, name)."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def uid_of(item: Json) -> str:
    """Return the uid."""
    return item["metadata"]["uid"]
