"""Schedules as people make, change, pause and run them; and as plugins bring them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from taskmill.errors import Code, TaskmillError
from taskmill.plugin.registry import Registry
from taskmill.services.page import Paging
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest, ScheduleView
from taskmill.services.schedules.sync import sync
from tests.support.platforms import opened, registry, schedules

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with opened(database_url, broker_url) as platform:
        yield platform


def request(name: str = "hourly", **changes: Any) -> ScheduleRequest:
    fields: dict[str, Any] = {"name": name, "kind": "demo.echo", "args": {"text": "hi"}, "cron": "0 * * * *", **changes}
    return ScheduleRequest(**fields)


def moment(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


async def rewind(platform: Platform, name: str, **columns: object) -> None:
    """Set columns of a schedule, as if time had passed."""
    sets = ", ".join(f"{column} = ${n}" for n, column in enumerate(columns, 2))
    statement = f"update taskmill.schedules set {sets} where name = $1"
    await platform.database.pool.execute(statement, name, *columns.values())


async def test_a_new_schedule_fires_next_at_its_next_time(platform: Platform) -> None:
    made = await schedules(platform).create(request(queue="slow", priority=4), created_by="ann")

    assert moment(made.next_fire_at) == datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    assert (made.source, made.created_by, made.queue, made.priority, made.paused) == ("api", "ann", "slow", 4, False)
    assert made.args == {"text": "hi"}
    assert await schedules(platform).get("hourly") == made
    assert await schedules(platform).get(str(made.id)) == made


async def test_an_interval_begins_when_it_is_made(platform: Platform) -> None:
    made = await schedules(platform).create(request(cron=None, interval_s=90))
    age = (moment(made.next_fire_at) - moment(made.created_at)).total_seconds()
    assert age == pytest.approx(90, abs=1)


REFUSED = [
    ("bad cron", {"cron": "61 * * * *"}, Code.SCHEDULE_INVALID, "cron"),
    ("bad zone", {"timezone": "Nowhere"}, Code.SCHEDULE_INVALID, "timezone"),
    ("bad interval", {"cron": None, "interval_s": 0.1}, Code.SCHEDULE_INVALID, "interval_s"),
    ("no timetable", {"cron": None}, Code.SCHEDULE_INVALID, "cron"),
    ("slash in the name", {"name": "a/b"}, Code.SCHEDULE_INVALID, "name"),
    ("empty name", {"name": ""}, Code.SCHEDULE_INVALID, "name"),
    ("id as the name", {"name": str(uuid4())}, Code.SCHEDULE_INVALID, "name"),
    ("negative catch-up", {"catch_up_s": -1.0}, Code.SCHEDULE_INVALID, "catch_up_s"),
    ("catch-up nan", {"catch_up_s": float("nan")}, Code.SCHEDULE_INVALID, "catch_up_s"),
    ("unknown kind", {"kind": "demo.nothing"}, Code.KIND_NOT_FOUND, None),
    ("args of the wrong type", {"args": {"text": 5}}, Code.ARGS_INVALID, "args.text"),
    ("args are a list", {"args": []}, Code.ARGS_INVALID, "args"),
    ("bad queue", {"queue": "a b"}, Code.INVALID_REQUEST, "queue"),
    ("bad priority", {"priority": 9}, Code.INVALID_REQUEST, "priority"),
]


@pytest.mark.parametrize(("changes", "code", "field"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_what_does_not_fit_is_refused_by_create_and_update(
    platform: Platform, changes: dict[str, Any], code: Code, field: str | None
) -> None:
    for attempt in (
        lambda: schedules(platform).create(request(**changes)),
        lambda: schedules(platform).update("any", request(**changes)),
    ):
        with pytest.raises(TaskmillError) as caught:
            await attempt()
        assert caught.value.code is code
        assert caught.value.details.get("field") == field
    assert (await schedules(platform).list(Paging())).total == 0


async def test_a_name_is_taken_once(platform: Platform) -> None:
    await schedules(platform).create(request("one"))
    await schedules(platform).create(request("two"))

    for attempt in (schedules(platform).create(request("one")), schedules(platform).update("two", request("one"))):
        with pytest.raises(TaskmillError) as caught:
            await attempt
        assert caught.value.code is Code.SCHEDULE_EXISTS

    page = await schedules(platform).list(Paging(page_size=1, page=2))
    assert ([item.name for item in page.items], page.total) == (["two"], 2)


@pytest.mark.parametrize("key", ["nobody", "018f0000-0000-7000-8000-000000000000", "nul\x00"])
async def test_an_unknown_key_is_not_found(platform: Platform, key: str) -> None:
    service = schedules(platform)
    for attempt in (
        service.get(key),
        service.update(key, request()),
        service.delete(key),
        service.pause(key),
        service.resume(key),
        service.run(key),
        service.next(key, 1),
    ):
        with pytest.raises(TaskmillError) as caught:
            await attempt
        assert caught.value.code is Code.SCHEDULE_NOT_FOUND


async def test_update_keeps_the_next_fire_while_the_timetable_is_the_same(platform: Platform) -> None:
    await schedules(platform).create(request())
    overdue = datetime.now(UTC) - HOUR
    await rewind(platform, "hourly", next_fire_at=overdue, last_error="broken")

    same = await schedules(platform).update("hourly", request("renamed", args={"text": "new"}))
    assert moment(same.next_fire_at) == overdue.replace(microsecond=overdue.microsecond // 1000 * 1000)
    assert (same.name, same.args, same.last_error) == ("renamed", {"text": "new"}, None)

    other = await schedules(platform).update("renamed", request(cron="30 * * * *"))
    assert moment(other.next_fire_at) > datetime.now(UTC)


async def test_delete_leaves_nothing_but_its_tasks(platform: Platform) -> None:
    made = await schedules(platform).create(request())
    run = await schedules(platform).run("hourly")

    assert (await schedules(platform).delete("hourly")).id == made.id

    assert (await schedules(platform).list(Paging())).items == []
    assert (
        await platform.database.pool.fetchval("select schedule_id from taskmill.tasks where id = $1", run.task_id) == made.id
    )


async def test_resume_never_fires_what_was_missed_while_paused(platform: Platform) -> None:
    made = await schedules(platform).create(request(cron=None, interval_s=10))
    paused = await schedules(platform).pause("hourly")
    assert (paused.paused, paused.next_fire_at) == (True, None)
    assert (await schedules(platform).pause("hourly")).paused_at == paused.paused_at
    begun = moment(made.next_fire_at) - timedelta(days=1)
    await rewind(platform, "hourly", next_fire_at=begun, paused_at=begun)

    resumed = await schedules(platform).resume("hourly")

    following = moment(resumed.next_fire_at)
    assert timedelta() < following - datetime.now(UTC) <= timedelta(seconds=10.1)
    assert (following - begun) % timedelta(seconds=10) == timedelta()
    assert resumed.missed_count == 0
    again = await schedules(platform).resume("hourly")
    assert again.next_fire_at == resumed.next_fire_at


async def test_run_submits_at_once_even_when_paused(platform: Platform) -> None:
    made = await schedules(platform).create(request(queue="slow"))
    await schedules(platform).pause("hourly")

    run = await schedules(platform).run("hourly", by="bob")

    row = await platform.database.pool.fetchrow("select * from taskmill.tasks where id = $1", run.task_id)
    assert row is not None
    assert (row["state"], row["queue"], row["schedule_id"], row["created_by"]) == ("available", "slow", made.id, "bob")
    assert row["ticket_at"] is None
    assert row["fire_at"] is None
    after = await schedules(platform).get("hourly")
    assert after.paused
    assert after.last_fire_at is None


async def test_next_lists_the_coming_fires(platform: Platform) -> None:
    made = await schedules(platform).create(request())
    fires = [moment(fire) for fire in await schedules(platform).next("hourly", 3)]
    assert fires == [moment(made.next_fire_at) + n * HOUR for n in range(3)]
    await schedules(platform).pause("hourly")
    assert [moment(fire) for fire in await schedules(platform).next("hourly", 1)] == fires[:1]


def bringing(*schedules: tuple[str, str], plugin: str = "demo") -> Registry:
    """A registry whose `plugin` brings schedules (name, cron)."""
    made = registry()
    made.bound(plugin, "1.0.0")
    for name, cron in schedules:
        made.schedule(name, "demo.echo", {"text": name}, cron=cron)
    return made


async def names(platform: Platform) -> dict[str, ScheduleView]:
    return {item.name: item for item in (await schedules(platform).list(Paging())).items}


async def test_sync_follows_the_plugin(platform: Platform) -> None:
    database = platform.database
    counts = await sync(database, bringing(("a", "0 * * * *"), ("b", "0 * * * *"), ("bad", "nonsense")))
    assert (counts["added"], counts["refused"]) == (2, 1)
    assert {item.source for item in (await names(platform)).values()} == {"plugin:demo"}
    kept = (await schedules(platform).pause("a")).paused_at
    soon = datetime.now(UTC) + timedelta(seconds=5)
    await rewind(platform, "a", next_fire_at=soon)

    assert (await sync(database, bringing(("a", "0 * * * *"), ("b", "30 * * * *"))))["changed"] == 1
    rows = await names(platform)
    assert rows["a"].paused_at == kept
    assert await database.pool.fetchval("select next_fire_at from taskmill.schedules where name = 'a'") == soon
    assert moment(rows["b"].next_fire_at).minute == 30

    assert (await sync(database, bringing(("b", "30 * * * *"))))["removed"] == 1
    assert set(await names(platform)) == {"b"}


async def test_sync_touches_only_what_belongs_to_loaded_plugins(platform: Platform) -> None:
    await schedules(platform).create(request("mine"))
    await sync(platform.database, bringing(("theirs", "0 * * * *"), plugin="other"))

    counts = await sync(platform.database, bringing(("mine", "5 * * * *")))

    assert counts["refused"] == 1
    rows = await names(platform)
    assert (rows["mine"].source, rows["mine"].cron) == ("api", "0 * * * *")
    assert rows["theirs"].source == "plugin:other"


async def test_a_plugin_s_schedule_is_not_changed_by_hand(platform: Platform) -> None:
    await sync(platform.database, bringing(("a", "0 * * * *")))
    with pytest.raises(TaskmillError) as caught:
        await schedules(platform).update("a", request("a"))
    assert caught.value.code is Code.SCHEDULE_OWNED
    assert caught.value.details == {"schedule": "a", "owner": "plugin:demo"}
    assert (await schedules(platform).resume("a")).name == "a"
