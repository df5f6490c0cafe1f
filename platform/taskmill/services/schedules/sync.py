"""Schedules that plugins bring: written at the start of the scheduler, and removed when a plugin drops them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from taskmill.errors import InputError
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.models.schedule import Schedule
from taskmill.plugin.registry import Registry, ScheduleDefinition
from taskmill.services.schedules.service import PLUGIN_PREFIX, ScheduleRequest, next_fire, timetable_of
from taskmill.stores import schedule as store
from taskmill.stores.database import Database

log = get_logger(__name__)


async def sync(database: Database, registry: Registry) -> Mapping[str, int]:
    """Bring the rows of every loaded plugin in line with what it registers; returns added, changed, removed, refused.

    Pause and next fire stay as they are while the timetable is the same. Plugins that are not loaded here keep theirs,
    and a name that somebody else has is left to them.
    """
    counts: Counter[str] = Counter(added=0, changed=0, removed=0, refused=0)
    for plugin in sorted(registry.versions):
        wanted = {name: item for name, item in registry.schedules.items() if item.plugin == plugin}
        async with database.sessions.begin() as session:
            await _sync_plugin(session, plugin, wanted, counts)
    log.info("插件的计划已同步", **counts)
    return counts


async def _sync_plugin(
    session: store.Session, plugin: str, wanted: Mapping[str, ScheduleDefinition], counts: Counter[str]
) -> None:
    source = PLUGIN_PREFIX + plugin
    existing = {row.name: row for row in await store.fetch_by_source(session, source)}
    for name in sorted(existing.keys() - wanted.keys()):
        await store.remove(session, existing[name].id)
        counts["removed"] += 1
        log.info("插件不再定义此计划，已删除", schedule=name, plugin=plugin)
    for name, definition in sorted(wanted.items()):
        request = _request(definition)
        try:
            request.check()
        except InputError as error:
            counts["refused"] += 1
            log.warning("插件的计划不合规，未写入", schedule=name, plugin=plugin, error=str(error))
            continue
        counts[await _write(session, source, existing.get(name), request)] += 1


def _request(definition: ScheduleDefinition) -> ScheduleRequest:
    return ScheduleRequest(
        name=definition.name,
        kind=definition.kind,
        args=msgspec.to_builtins(definition.args),
        cron=definition.cron,
        interval_s=definition.interval_s,
        timezone=definition.timezone,
        catch_up_s=definition.catch_up_s,
    )


async def _write(session: store.Session, source: str, row: Schedule | None, request: ScheduleRequest) -> str:
    """写一个计划，返回计入哪一类。"""
    values: dict[str, Any] = {
        name: getattr(request, name) for name in ("kind", "args", "cron", "interval_s", "timezone", "catch_up_s")
    }
    if row is None:
        following = next_fire(request.timetable, await store.now(session))
        values |= {"id": new_id(), "name": request.name, "source": source, "next_fire_at": following}
        if await store.add(session, values) is None:
            log.warning("计划名已被占用，插件的计划未写入", schedule=request.name, source=source)
            return "refused"
        return "added"
    if all(getattr(row, name) == value for name, value in values.items()):
        return "unchanged"
    if timetable_of(row) != request.timetable:
        values["next_fire_at"] = next_fire(request.timetable, await store.now(session))
    await store.change(session, row.id, values)
    return "changed"
