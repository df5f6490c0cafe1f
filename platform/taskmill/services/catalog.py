"""Which kinds of tasks and which plugins there are."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec

from taskmill.clock import Timestamp, rfc3339
from taskmill.errors import Code, NotFoundError
from taskmill.models import Kind
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo
from taskmill.services.page import Page, Paging, cut
from taskmill.stores import kind_read
from taskmill.stores.database import Database
from taskmill.text.similar import did_you_mean
from taskmill.words import Words


class KindSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a kind and its defaults; `versions` lists all, ascending.

    `on_oom_queue`: where its tasks go after a death for want of memory (null: they stay in their queue).
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


class CatalogService:
    """Kinds come from the database (any process may have published them), plugins from this process."""

    def __init__(self, database: Database, host: PluginHost) -> None:
        self._database = database
        self._host = host

    async def kinds(self, paging: Paging) -> Page[KindSummary]:
        """Return one page of kinds by name."""
        async with self._database.sessions.begin() as session:
            rows = await kind_read.fetch_all(session)
        grouped = [list(versions) for _, versions in groupby(rows, key=lambda row: row.kind)]
        return cut(grouped, paging, lambda versions: KindSummary(**_summary(versions)))

    async def kind(self, kind: str) -> KindDetail:
        """Return one kind; NotFoundError KIND_NOT_REGISTERED."""
        async with self._database.sessions.begin() as session:
            rows = await kind_read.fetch_versions(session, kind)
        if not rows:
            raise NotFoundError(Code.KIND_NOT_REGISTERED, kind=kind, known=await self._close_to(kind))
        newest = rows[-1]
        schemas = [
            KindVersion(
                version=row.version,
                args_schema=row.args_schema,
                result_schema=row.result_schema,
                seen_at=rfc3339(row.seen_at),
            )
            for row in rows
        ]
        return KindDetail(
            **_summary(list(rows)), args_schema=newest.args_schema, result_schema=newest.result_schema, schemas=schemas
        )

    async def _close_to(self, kind: str) -> Words | str:
        async with self._database.sessions.begin() as session:
            return did_you_mean(kind, {row.kind for row in await kind_read.fetch_all(session)})

    def plugins(self, paging: Paging) -> Page[PluginInfo]:
        """Return one page of the plugins that this process found, loaded or not."""
        return cut(self._host.plugins(), paging, lambda info: info)


def _summary(versions: list[Kind]) -> dict[str, Any]:
    newest = versions[-1]
    return {
        "kind": newest.kind,
        "version": newest.version,
        "versions": [row.version for row in versions],
        "plugin": newest.plugin,
        "plugin_version": newest.plugin_version,
        "summary": newest.summary,
        "queue": newest.queue,
        "priority": newest.priority,
        "max_attempts": newest.max_attempts,
        "timeout_s": newest.timeout_ms / 1000,
        "executor": newest.executor,
        "on_oom_queue": newest.on_oom_queue,
        "seen_at": rfc3339(newest.seen_at),
    }
