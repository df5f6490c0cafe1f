"""Which kinds of tasks and which plugins there are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from taskmill.clock import Timestamp
from taskmill.controls.unique import Unique
from taskmill.errors import Code, NotFoundError
from taskmill.models.kind import Kind
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo
from taskmill.services.kinds import Controls
from taskmill.services.page import Page, Paging, cut
from taskmill.services.view import view
from taskmill.stores import kind as store
from taskmill.stores.database import Database
from taskmill.text.similar import did_you_mean
from taskmill.words import Words


class KindSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a kind and its defaults; `versions` lists all, ascending.

    `on_oom_queue`: where its tasks go after a death for want of memory (null: they stay in their queue). `unique`: of what a
    task is there once only, unless its submit says otherwise (null: nothing).
    """

    kind: str
    version: int
    versions: list[int]
    plugin: str
    plugin_version: str
    summary: str
    queue: str
    priority: int
    max_attempts: int
    timeout_s: float
    executor: str
    on_oom_queue: str | None
    unique: Unique | None
    seen_at: Timestamp


class KindVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version with the JSON Schemas of its args and result (null: not declared)."""

    version: int
    args_schema: Any
    result_schema: Any
    seen_at: Timestamp


class KindDetail(KindSummary, frozen=True, kw_only=True):
    """A kind with the schemas of its newest version, and of all versions."""

    args_schema: Any
    result_schema: Any
    schemas: list[KindVersion]


S = TypeVar("S", bound=KindSummary)


class CatalogService:
    """Kinds come from the database (any process may have published them), plugins from this process."""

    def __init__(self, database: Database, host: PluginHost) -> None:
        self._database = database
        self._host = host

    async def kinds(self, paging: Paging) -> Page[KindSummary]:
        """Return one page of kinds by name."""
        async with self._database.sessions.begin() as session:
            rows = await store.fetch_all(session)
        grouped = [list(versions) for _, versions in groupby(rows, key=lambda row: row.kind)]
        return cut(grouped, paging, lambda versions: _newest(KindSummary, versions))

    async def kind(self, kind: str) -> KindDetail:
        """Return one kind; NotFoundError KIND_NOT_REGISTERED."""
        async with self._database.sessions.begin() as session:
            rows = await store.fetch_versions(session, kind)
        if not rows:
            raise NotFoundError(Code.KIND_NOT_REGISTERED, kind=kind, known=await self._close_to(kind))
        schemas = [view(KindVersion, row) for row in rows]
        return _newest(KindDetail, rows, schemas=schemas)

    async def _close_to(self, kind: str) -> Words | str:
        async with self._database.sessions.begin() as session:
            return did_you_mean(kind, {row.kind for row in await store.fetch_all(session)})

    def plugins(self, paging: Paging) -> Page[PluginInfo]:
        """Return one page of the plugins that this process found, loaded or not."""
        return cut(self._host.plugins(), paging, lambda info: info)


def _newest(form: type[S], versions: Sequence[Kind], **given: Any) -> S:
    newest = versions[-1]
    given["unique"] = msgspec.convert(newest.controls, Controls).unique
    return view(form, newest, versions=[row.version for row in versions], timeout_s=newest.timeout_ms / 1000, **given)
