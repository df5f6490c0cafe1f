"""Submit, run, settle: one worker and one stager on real servers."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from taskmill import Discard, Retry, Snooze, TaskContext, task
from taskmill import constants as c
from taskmill.engine.worker import WorkerRole
from taskmill.errors import UnavailableError
from taskmill.plugin import storable
from taskmill.plugin.definition import RetryPolicy
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores import constants as sc
from tests.support.engines import (
    Engine,
    attempts,
    consistent,
    decoded,
    final,
    in_state,
    live,
    platform_of,
    running,
    staged,
    submit,
    worker_on,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
FAST = RetryPolicy(max_attempts=3, base_delay=0.01, max_delay=0.02)


@task("test.double")
async def double(n: int) -> int:
    return 2 * n


@task("test.failing", retry=FAST)
async def failing(reason: str) -> None:
    raise ValueError(reason)


@task("test.plain")
def plain(n: int) -> dict[str, Any]:
    return {"n": n, "thread": threading.current_thread() is not threading.main_thread()}


async def test_submit_run_completed_with_result(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, double) as platform:
        row = await final(platform, await submit(platform, "test.double", {"n": 21}))
        assert (row["state"], decoded(row["result"]), row["attempt"], row["claim_no"]) == ("completed", 42, 1, 1)
        assert row["started_at"] <= row["finished_at"]
        assert await attempts(platform, row["id"]) == []
        await consistent(platform)


async def test_a_plain_function_runs_in_a_thread(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, plain) as platform:
        row = await final(platform, await submit(platform, "test.plain", {"n": 1}))
        assert decoded(row["result"]) == {"n": 1, "thread": True}


async def test_many_tasks_each_end_exactly_once(database_url: str, broker_url: str) -> None:
    ran: list[int] = []

    @task("test.note")
    async def note(n: int) -> None:
        ran.append(n)

    async with running(database_url, broker_url, note, concurrency=50) as platform:
        await platform.submit.submit_many([SubmitRequest(kind="test.note", args={"n": n}) for n in range(1_000)])

        async def done() -> bool:
            return await platform.database.pool.fetchval("select count(*) from taskmill.task_history") == 1_000

        await eventually(done)
        assert sorted(ran) == list(range(1_000))
        await consistent(platform)


async def test_retries_with_backoff_then_discarded(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, failing) as platform:
        row = await final(platform, await submit(platform, "test.failing", {"reason": "no\x01 luck"}))
        assert (row["state"], row["attempt"], row["claim_no"]) == ("discarded", 3, 3)
        assert decoded(row["error"]) == {"type": "ValueError", "message": "no\x01 luck"}
        found = await attempts(platform, row["id"])
        assert [(a["attempt"], a["cause"], a["error_type"]) for a in found] == [
            (n, "error", "ValueError") for n in (1, 2, 3)
        ]
        assert all("raise ValueError" in a["traceback"] for a in found)
        assert all(a["traceback"].count('File "') == 1 for a in found)  # 作者只看见自己的代码
        await consistent(platform)


@pytest.mark.parametrize("count", [1, 2])
async def test_max_attempts_of_the_submit_wins(database_url: str, broker_url: str, count: int) -> None:
    async with running(database_url, broker_url, failing) as platform:
        row = await final(platform, await submit(platform, "test.failing", {"reason": "x"}, max_attempts=count))
        assert row["attempt"] == count


async def test_discard_ends_at_once(database_url: str, broker_url: str) -> None:
    @task("test.hopeless", retry=FAST)
    async def hopeless() -> None:
        raise Discard("no such customer")

    async with running(database_url, broker_url, hopeless) as platform:
        row = await final(platform, await submit(platform, "test.hopeless"))
        assert (row["state"], row["attempt"], decoded(row["error"])["message"]) == ("discarded", 1, "no such customer")


async def test_retry_after_is_kept(database_url: str, broker_url: str) -> None:
    @task("test.later", retry=FAST)
    async def later() -> None:
        raise Retry("busy", after=3_600)

    async with running(database_url, broker_url, later) as platform:
        row = await in_state(platform, await submit(platform, "test.later"), "retryable")
        wait = await platform.database.pool.fetchval("select extract(epoch from $1::timestamptz - now())", row["run_at"])
        assert 3_590 < wait <= 3_600
        assert row["worker_id"] is None
        assert row["deadline_at"] is None


async def test_snooze_keeps_the_attempt(database_url: str, broker_url: str) -> None:
    seen: list[tuple[int, int]] = []

    @task("test.sleepy", retry=RetryPolicy(max_attempts=1))
    async def sleepy(context: TaskContext) -> int:
        seen.append((context.attempt, context.claim_no))
        if len(seen) < 3:
            raise Snooze(after=0.01)
        return context.attempt

    async with running(database_url, broker_url, sleepy) as platform:
        row = await final(platform, await submit(platform, "test.sleepy"))
        assert (row["state"], decoded(row["result"])) == ("completed", 1)
        assert seen == [(1, 1), (1, 2), (1, 3)]  # claim_no 只增，attempt 不动
        assert await attempts(platform, row["id"]) == []


@pytest.mark.parametrize("executor", ["async", "thread"])
async def test_a_timeout_counts_as_an_attempt(database_url: str, broker_url: str, executor: str) -> None:
    release = threading.Event()

    async def hang() -> None:
        await asyncio.Event().wait()

    def block() -> None:
        release.wait(200)

    slow = task("test.slow", timeout=0.2, retry=RetryPolicy(max_attempts=1))(hang if executor == "async" else block)
    async with running(database_url, broker_url, slow) as platform:
        row = await final(platform, await submit(platform, "test.slow"))
        release.set()
        assert row["state"] == "discarded"
        assert decoded(row["error"])["type"] == "TimeoutError"
        assert [a["cause"] for a in await attempts(platform, row["id"])] == ["timeout"]


async def test_a_thread_hears_that_it_is_to_stop(database_url: str, broker_url: str) -> None:
    heard = threading.Event()

    @task("test.polite", timeout=0.2, retry=RetryPolicy(max_attempts=1))
    def polite(context: TaskContext) -> None:
        while not context.cancelled:
            threading.Event().wait(0.01)
        heard.set()

    async with running(database_url, broker_url, polite) as platform:
        await final(platform, await submit(platform, "test.polite"))
        assert await asyncio.to_thread(heard.wait, 5)


async def test_a_running_task_is_cancelled_at_once(database_url: str, broker_url: str) -> None:
    cleaned = asyncio.Event()

    @task("test.long")
    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    # 心跳五分钟一次：取消只可能靠提示
    async with running(database_url, broker_url, long, lease_s=1_000, heartbeat_s=300) as platform:
        task_id = await submit(platform, "test.long")
        await in_state(platform, task_id, "running")
        answer = await platform.tasks.cancel(task_id)
        assert (answer.state, answer.cancel_requested) == ("running", True)
        row = await final(platform, task_id)
        assert row["state"] == "cancelled"
        assert cleaned.is_set()
        assert [a["cause"] for a in await attempts(platform, task_id)] == ["cancel"]
        await consistent(platform)


async def test_a_cancel_without_hint_comes_with_the_heartbeat(database_url: str, broker_url: str) -> None:
    @task("test.long")
    async def long() -> None:
        await asyncio.Event().wait()

    async with running(database_url, broker_url, long, heartbeat_s=0.1) as platform:
        task_id = await submit(platform, "test.long")
        await in_state(platform, task_id, "running")
        await platform.database.pool.execute("update taskmill.tasks set cancel_requested_at = now() where id = $1", task_id)
        assert (await final(platform, task_id))["state"] == "cancelled"


async def test_a_failure_after_a_cancel_request_ends_cancelled_not_retryable(database_url: str, broker_url: str) -> None:
    go = asyncio.Event()

    @task("test.stubborn", retry=FAST)
    async def stubborn() -> None:
        await go.wait()
        raise ValueError

    async with running(database_url, broker_url, stubborn) as platform:
        task_id = await submit(platform, "test.stubborn")
        await in_state(platform, task_id, "running")
        await platform.database.pool.execute("update taskmill.tasks set cancel_requested_at = now() where id = $1", task_id)
        go.set()
        assert (await final(platform, task_id))["state"] == "cancelled"
        await consistent(platform)


@pytest.mark.parametrize(
    "result",
    [object(), {"k": "\x00"}, "\ud800", "x" * 1_001, lambda: None],
    ids=["object", "nul", "surrogate", "too-large", "function"],
)
async def test_a_result_that_cannot_be_stored_is_a_failed_attempt(database_url: str, broker_url: str, result: Any) -> None:
    @task("test.odd", retry=RetryPolicy(max_attempts=1))
    async def odd() -> Any:
        return result

    async with running(database_url, broker_url, odd, double, result_max_bytes=1_000) as platform:
        row = await final(platform, await submit(platform, "test.odd"))
        assert (row["state"], row["result"]) == ("discarded", None)
        other = await final(platform, await submit(platform, "test.double", {"n": 1}))
        assert other["state"] == "completed"


async def test_a_handler_knows_how_large_its_result_may_be(database_url: str, broker_url: str) -> None:
    @task("test.wordy")
    async def wordy(ctx: TaskContext) -> str:
        return storable("\x00" + "x" * 5_000, ctx.result_max_bytes)[0]

    async with running(database_url, broker_url, wordy, result_max_bytes=1_000) as platform:
        row = await final(platform, await submit(platform, "test.wordy"))
        assert (row["state"], len(decoded(row["result"])) > 900) == ("completed", True)


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("self"), GeneratorExit()],
    ids=lambda e: type(e).__name__,
)
async def test_whatever_a_handler_raises_is_only_a_failed_attempt(
    database_url: str, broker_url: str, error: BaseException
) -> None:
    @task("test.rude", retry=RetryPolicy(max_attempts=1))
    async def rude() -> None:
        raise error

    async with running(database_url, broker_url, rude, double) as platform:
        row = await final(platform, await submit(platform, "test.rude"))
        assert (row["state"], decoded(row["error"])["type"]) == ("discarded", type(error).__name__)
        assert (await final(platform, await submit(platform, "test.double", {"n": 1})))["state"] == "completed"


async def test_args_that_do_not_fit_the_handler_are_final_on_the_first_attempt(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, double) as platform:
        task_id = await submit(platform, "test.double", {"n": 1}, delay_s=3_600)
        await platform.database.pool.execute(
            "update taskmill.tasks set args = $2, run_at = now() where id = $1", task_id, b'{"m": 1}'
        )
        row = await final(platform, task_id)
        assert (row["state"], row["attempt"], decoded(row["error"])["type"]) == ("discarded", 1, "InputError")
        assert "ARGS_INVALID" in decoded(row["error"])["message"]


class Even(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def is_even(cls, n: int) -> int:
        if n % 2:
            raise ValueError(f"{n} is odd")
        return n


class Odd(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n % 2 == 0:
            raise ValueError(f"{self.n} is even")


@pytest.mark.parametrize(("model", "n"), [(Even, 1), (Odd, 2)])
async def test_args_that_only_the_code_of_their_type_refuses_are_final_on_the_first_attempt(
    database_url: str, broker_url: str, model: type[Any], n: int
) -> None:
    async def strict(args: Any) -> None:
        pass

    strict.__annotations__["args"] = model
    async with running(database_url, broker_url, task("test.strict")(strict)) as platform:
        row = await final(platform, await submit(platform, "test.strict", {"n": n}))
        assert (row["state"], row["attempt"]) == ("discarded", 1)
        assert ("ARGS_INVALID" in decoded(row["error"])["message"], f"{n} is" in decoded(row["error"])["message"]) == (
            True,
            True,
        )


async def test_delayed_tasks_wait_and_then_run(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, double) as platform:
        soon = await submit(platform, "test.double", {"n": 1}, delay_s=0.3)
        late = await submit(platform, "test.double", {"n": 2}, delay_s=3_600)
        row = await final(platform, soon)
        assert row["started_at"] >= row["run_at"]
        waiting = await live(platform, late)
        assert waiting is not None
        assert waiting["state"] == "scheduled"


async def test_priorities_come_first_and_low_ones_still_run(database_url: str, broker_url: str) -> None:
    order: list[int] = []

    @task("test.rank")
    async def rank(p: int) -> None:
        order.append(p)

    async with platform_of(database_url, broker_url, rank) as platform:
        for priority in (4, 3, 2, 1):
            requests = [SubmitRequest(kind="test.rank", args={"p": priority}, priority=priority) for _ in range(100)]
            await platform.submit.submit_many(requests)
        async with worker_on(platform, concurrency=1):
            await eventually(lambda: len(order) == 400)
    early = order[:100]
    assert early.count(1) > early.count(2) > early.count(4) > 0


async def test_an_expired_task_never_starts(database_url: str, broker_url: str) -> None:
    ran: list[int] = []

    @task("test.fresh")
    async def fresh() -> None:
        ran.append(1)

    async with platform_of(database_url, broker_url, fresh) as platform:
        now = await platform.database.pool.fetchval("select clock_timestamp() + interval '0.1 s'")
        task_id = await submit(platform, "test.fresh", expires_at=now)
        await eventually(lambda: _passed(platform, now))
        async with worker_on(platform), staged(platform):
            row = await final(platform, task_id)
        assert (row["state"], row["attempt"], ran) == ("discarded", 0, [])
        assert [a["cause"] for a in await attempts(platform, task_id)] == ["expired"]
        await consistent(platform)


async def _passed(platform: Platform, moment: datetime) -> bool:
    return bool(await platform.database.pool.fetchval("select clock_timestamp() > $1", moment))


async def test_children_are_submitted_from_a_handler(database_url: str, broker_url: str) -> None:
    @task("test.parent")
    async def parent(context: TaskContext) -> str:
        return str(await context.submit("test.double", {"n": 4}))

    async with running(database_url, broker_url, parent, double) as platform:
        row = await final(platform, await submit(platform, "test.parent"))
        child = await final(platform, UUID(decoded(row["result"])))
        assert decoded(child["result"]) == 8


async def test_an_unserved_kind_is_put_off_by_five_seconds(database_url: str, broker_url: str) -> None:
    @task("test.elsewhere")
    async def elsewhere() -> None: ...

    async with platform_of(database_url, broker_url, double, elsewhere) as platform:
        task_id = await submit(platform, "test.elsewhere")
        del platform.host.registry.tasks["test.elsewhere", 1]
        async with worker_on(platform):
            row = await in_state(platform, task_id, "scheduled")
        assert (row["run_at"] - row["updated_at"]).total_seconds() == pytest.approx(sc.UNSERVED_DELAY_S, abs=0.1)
        assert (row["attempt"], row["claim_no"], row["ticket_at"]) == (0, 0, None)


async def test_threads_that_hang_starve_nobody_and_in_the_end_the_worker_asks_to_be_replaced(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    @task("test.stuck", timeout=0.1, retry=RetryPolicy(max_attempts=1))
    def stuck() -> None:
        release.wait(300)

    @task("test.thread")
    def thread() -> int:
        return 7

    monkeypatch.setattr(c, "DEADLINE_GRACE_S", 0.0)
    settings = {"threads_abandoned_max": 5, "drain_grace_s": 0.1}
    async with platform_of(database_url, broker_url, stuck, thread, **settings) as platform:
        engine = await Engine(platform, WorkerRole(platform, (), 2)).start()
        try:
            for _ in range(4):
                assert (await final(platform, await submit(platform, "test.stuck")))["state"] == "discarded"
            row = await final(platform, await submit(platform, "test.thread"))
            assert decoded(row["result"]) == 7
            await submit(platform, "test.stuck")
            with pytest.raises(UnavailableError, match="WORKER_WORN_OUT"):
                await engine.task
        finally:
            release.set()
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks where state = 'running'") == 0
        assert await platform.database.pool.fetchval("select bool_and(dead_at is not null) from taskmill.workers")
