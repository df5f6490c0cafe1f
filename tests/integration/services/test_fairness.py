"""Fairness keys: in one queue and priority keys take turns, however many tasks each has, and every limit holds besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from taskmill import Fairness, task
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.engine.periodic.limiter import Limiter
from taskmill.errors import Code, InputError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import By, State
from tests.support.engines import final, live, platform_of, running, stage, submit
from tests.support.turns import Stream, in_turn, quiet

pytestmark = pytest.mark.anyio
WINDOW = 8
GIVEN = "select count(*) from taskmill.tasks where slot = 2 and state = 'available' and fairness_key is not null"


@task("shop.report", fairness=Fairness(key="{tenant}"))
async def report(tenant: str = "x", n: int = 0) -> None: ...


@task("shop.any")
async def anything(n: int = 0) -> None: ...


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, report, anything, fairness_window=WINDOW) as made:
        yield made


@pytest.fixture
def stream(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Stream:
    return Stream(platform, "shop.report", monkeypatch)


async def limit(platform: Platform, **limits: Any) -> None:
    await platform.queues.put("default", QueuePolicyChange(**limits))
    await quiet(platform.promoter)


async def tasks_of(platform: Platform, keys: str, **options: Any) -> list[UUID]:
    ids = [await submit(platform, "shop.report", {"tenant": key}, **options) for key in keys]
    await quiet(platform.promoter, platform.releaser)  # type: ignore[arg-type]
    return ids


async def slots(platform: Platform, ids: list[UUID]) -> list[int | None]:
    rows = [await live(platform, each) for each in ids]
    return [row["slot"] if row is not None else -1 for row in rows]


@pytest.mark.parametrize(
    "keys",
    [{"a": 1_000, "b": 10, "c": 1}, {"c": 30, "a": 1, "b": 2}, {"only": 20}, {f"k{n:03}": 1 + n % 3 for n in range(40)}],
    ids=["1000-10-1", "30-1-2", "one key", "more keys than the window"],
)
async def test_keys_take_exact_turns_however_many_tasks_each_has(stream: Stream, keys: dict[str, int]) -> None:
    await stream.add(keys)
    await stream.promote()
    await stream.start(120)
    assert stream.started == in_turn(keys)[:120]


async def test_never_more_than_the_window_have_a_ticket_and_workers_never_run_dry(
    platform: Platform, stream: Stream
) -> None:
    await stream.add({"a": 100, "b": 100})
    await stream.promote()
    for _ in range(40):
        assert platform.promoter.window.low <= await platform.database.pool.fetchval(GIVEN) <= WINDOW
        assert len(await stream.start()) == 1


async def test_a_key_that_comes_late_waits_for_the_window_and_one_turn(stream: Stream) -> None:
    await stream.add({"a": 200, "b": 200})
    await stream.promote()
    await stream.start(5)
    await stream.add({"late": 1})
    started = await stream.start(WINDOW + 3)
    assert "late" in started


async def test_each_queue_and_priority_has_turns_of_its_own(stream: Stream) -> None:
    await stream.add({"a": 20, "b": 1})
    await stream.add({"c": 20, "b": 2}, priority=1)
    await stream.add({"d": 2}, queue="other")
    await stream.promote("default", "other")
    assert await stream.start(3) == ["a", "b", "a"]
    assert await stream.start(5, ("default", 1)) == ["b", "c", "b", "c", "c"]
    assert await stream.start(5, ("other", 2)) == ["d", "d"]


async def test_a_submit_is_given_its_turn_at_once_and_a_task_without_a_key_is_as_ever(platform: Platform) -> None:
    fair, *_ = await tasks_of(platform, "a")
    plain = await submit(platform, "shop.any")
    row, other = await live(platform, fair), await live(platform, plain)
    assert row is not None
    assert other is not None
    assert (row["fairness_key"], row["slot"], row["ticket_at"] is None) == ("a", 2, False)
    assert (other["fairness_key"], other["slot"], other["ticket_at"] is None) == (None, None, False)


async def test_a_submit_may_give_another_key_than_its_kind_and_the_name_of_one_is_checked(platform: Platform) -> None:
    (made,) = await tasks_of(platform, "a", fairness_key="x" * 200)
    row = await live(platform, made)
    assert row is not None
    assert row["fairness_key"] == "x" * 200
    for wrong in ("", "x" * 201, "a\x00b"):
        with pytest.raises(InputError) as caught:
            await submit(platform, "shop.any", fairness_key=wrong)
        assert (caught.value.code, caught.value.details["field"]) == (Code.INVALID_REQUEST, "fairness_key")
    with pytest.raises(InputError) as caught:
        await submit(platform, "shop.report", {"tenant": ""})
    assert caught.value.details["field"] == "fairness_key"


async def test_what_is_delayed_lines_up_when_it_is_due(platform: Platform, stream: Stream) -> None:
    await stream.add({"a": 50})
    await stream.promote()
    (late,) = await tasks_of(platform, "b", delay_s=3600.0)
    assert await slots(platform, [late]) == [None]
    await platform.database.pool.execute("update taskmill.tasks set run_at = now() where id = $1", late)
    await stage(platform)
    row = await live(platform, late)
    assert row is not None
    assert (row["state"], row["ticket_at"]) == ("available", None)  # the stager leaves it to the turns
    assert (await Limiter(platform.database, platform.promoter).run_once())["enrolled"] == 1
    assert await slots(platform, [late]) == [3]
    assert "b" in await stream.start(WINDOW + 2)


async def test_what_is_given_back_or_fails_waits_for_its_turn_again(platform: Platform, stream: Stream) -> None:
    await stream.add({"a": 20, "b": 20})
    await stream.promote()
    await stream.start(4)
    crashed, failed, *_ = stream.running
    await stream.end(crashed, State.AVAILABLE, By.RESCUE)
    await stream.end(failed, State.RETRYABLE)
    await platform.database.pool.execute("update taskmill.tasks set run_at = now() where id = $1", failed)
    await stage(platform)
    await Limiter(platform.database, platform.promoter).run_once()
    assert await platform.database.pool.fetchval(GIVEN) <= WINDOW
    await stream.start(40)
    assert Counter(stream.started) == {"a": 21, "b": 21}
    assert stream.started[:4] == ["a", "b", "a", "b"]


async def test_a_retry_by_hand_and_a_cancel(platform: Platform, stream: Stream) -> None:
    ids = await tasks_of(platform, "a" * 12)
    assert platform.promoter.window.low <= Counter(await slots(platform, ids))[2] <= WINDOW
    for each in ids[:3]:
        await platform.tasks.cancel(each)
    await quiet(platform.promoter)
    await platform.tasks.retry(ids[0])
    await Limiter(platform.database, platform.promoter).run_once()
    row = await live(platform, ids[0])
    assert row is not None
    assert (row["fairness_key"], row["slot"] in (2, 3)) == ("a", True)
    assert platform.promoter.window.low <= Counter(await slots(platform, ids))[2] <= WINDOW


async def test_a_paused_queue_gives_no_turns_until_it_is_resumed(platform: Platform, stream: Stream) -> None:
    await platform.queues.pause("default")
    ids = await tasks_of(platform, "ab")
    await Limiter(platform.database, platform.promoter).run_once()
    assert await slots(platform, ids) == [3, 3]
    await platform.queues.resume("default")
    await quiet(platform.promoter)
    assert await slots(platform, ids) == [2, 2]


async def test_what_a_died_process_did_not_come_to_the_limiter_gives(platform: Platform, stream: Stream) -> None:
    await stream.add({"a": 5, "b": 5})
    done = await Limiter(platform.database, platform.promoter).run_once()
    assert done["promoted"] == WINDOW
    assert await stream.start(4) == ["a", "b", "a", "b"]


async def test_a_queue_that_was_deleted_in_the_moment_of_a_submit_gives_turns_again(
    platform: Platform, stream: Stream
) -> None:
    await platform.database.pool.execute("delete from taskmill.queues")
    await stream.add({"a": 2, "b": 1})
    await platform.database.pool.execute("delete from taskmill.queues")
    await platform.database.pool.execute("update taskmill.tasks set slot = 3, ticket_at = null")
    limiter = Limiter(platform.database, platform.promoter)
    await limiter.run_once()
    assert (await platform.queues.get("default")).name == "default"
    assert await stream.start(3) == ["a", "b", "a"]


async def test_a_task_of_a_sequence_lines_up_when_it_is_let_go(platform: Platform, stream: Stream) -> None:
    first, second = await tasks_of(platform, "aa", sequence_key="s")
    await quiet(platform.promoter, platform.releaser)  # type: ignore[arg-type]
    await quiet(platform.promoter)
    assert await slots(platform, [first, second]) == [2, None]
    assert await stream.start() == ["a"]
    await stream.end(first)
    row = await live(platform, second)
    assert row is not None
    assert (row["state"], row["slot"], row["ticket_at"]) == ("available", 3, None)


async def test_no_stale_ticket_starts_what_waits_for_its_turn(platform: Platform, stream: Stream) -> None:
    await stream.add({"a": WINDOW + 2})
    await stream.promote()
    await platform.database.pool.execute("update taskmill.tasks set slot = 3, ticket_at = null")
    assert await stream.start(1) == []


async def test_with_max_running_the_turns_are_of_the_whole_queue(platform: Platform, stream: Stream) -> None:
    await limit(platform, max_running=2)
    await stream.add({"a": 30, "b": 3, None: 5})
    await stream.promote()
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks where slot = 2") == 2
    for _ in range(9):
        await stream.start(2)
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks where slot = 2") == 2
        oldest = next(iter(stream.running))
        await stream.end(oldest)
        await stream.promote()
    # the bigger one takes what the others leave; tasks without a key are one more key
    assert stream.started[:9] == ["a", "b", "", "a", "b", "", "a", "b", ""]


async def test_a_key_that_comes_late_to_a_limited_queue_waits_for_no_more_than_what_has_a_slot(
    platform: Platform, stream: Stream
) -> None:
    await limit(platform, max_running=1)
    await stream.add({"a": 1_000})
    await stream.promote()
    await stream.start()
    await stream.add({"late": 1})
    await stream.end(next(iter(stream.running)))
    await stream.promote()
    assert await stream.start() == ["late"]


async def test_with_a_limit_of_each_key_a_big_key_does_not_fill_the_window(platform: Platform, stream: Stream) -> None:
    await limit(platform, max_running_per_key=1)
    big = await tasks_of(platform, "a" * 20, concurrency_key="a")
    small = await tasks_of(platform, "bb", concurrency_key="b")
    assert Counter(await slots(platform, big)) == {2: 1, 0: 19}
    assert Counter(await slots(platform, small)) == {2: 1, 0: 1}
    await stream.start(2)
    assert sorted(stream.started) == ["a", "b"]


async def test_a_rate_counts_every_start_in_turn(platform: Platform, stream: Stream) -> None:
    await limit(platform, rate=Rate(limit=10, period_s=100, burst=3))
    await stream.add({"a": 20, "b": 20})
    await stream.promote()
    assert await stream.start(10) == ["a", "b", "a"]
    await platform.database.pool.execute("update taskmill.rate_buckets set at = at - interval '10 seconds'")
    await Limiter(platform.database, platform.promoter).run_once()
    assert await stream.start(10) == ["b"]


async def test_a_limit_that_comes_later_holds_what_had_a_ticket_and_one_that_goes_lets_all_take_turns(
    platform: Platform, stream: Stream
) -> None:
    await stream.add({"a": 20})
    await stream.promote()
    await limit(platform, max_running=1)
    assert await platform.database.pool.fetchval(GIVEN) == 1
    assert len(await stream.start(20)) == 1
    await limit(platform, max_running=None)
    await Limiter(platform.database, platform.promoter).run_once()
    assert await platform.database.pool.fetchval(GIVEN) == WINDOW


async def test_a_limit_of_keys_that_comes_later_holds_what_has_waited_for_its_turn(
    platform: Platform, stream: Stream
) -> None:
    ids = await tasks_of(platform, "a" * 12, concurrency_key="k")
    await limit(platform, max_running_per_key=2)
    await Limiter(platform.database, platform.promoter).run_once()
    assert Counter(await slots(platform, ids))[2] == 2
    await limit(platform, max_running_per_key=None)
    limiter = Limiter(platform.database, platform.promoter)
    await limiter.run_once()
    await limiter.run_once()
    assert Counter(await slots(platform, ids)) == {2: WINDOW, 3: 4}


async def test_unique_tasks_and_full_queues_are_as_ever(platform: Platform) -> None:
    first = await platform.submit.submit(SubmitRequest(kind="shop.report", args={"tenant": "a"}, unique_key="u"))
    again = await platform.submit.submit(SubmitRequest(kind="shop.report", args={"tenant": "b"}, unique_key="u"))
    await quiet(platform.promoter)
    assert (again.id, again.duplicate) == (first.id, True)
    assert await slots(platform, [first.id]) == [2]


async def test_workers_run_all_of_them(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, report, concurrency=5, fairness_window=WINDOW) as platform:
        requests = [SubmitRequest(kind="shop.report", args={"tenant": key}) for key in "aaaaaaaaaaaaaaaaaaaabbc" * 5]
        made = await platform.submit.submit_many(requests)
        for each in made:
            assert (await final(platform, each.id))["state"] == "completed"
        await quiet(platform.promoter)
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0
