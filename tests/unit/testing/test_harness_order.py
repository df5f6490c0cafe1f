"""Order in a harness: whose turn it is, what depends on what, and what a failure does to those that wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from taskmill import RetryPolicy, TaskContext, TaskmillError, Unique, task
from taskmill.constants import DEPENDS_ON_MAX
from taskmill.errors import Code, TaskCancelled
from taskmill.ids import new_id
from taskmill.states import State
from taskmill.testing import FakeClock, Harness, SyncHarness

pytestmark = pytest.mark.anyio
START = datetime(2026, 3, 1, tzinfo=UTC)
ran: list[str] = []


@task("order.step", retry=RetryPolicy(max_attempts=1))
async def step(name: str) -> str:
    """Fail if the name says so."""
    ran.append(name)
    if name.startswith("bad"):
        raise ValueError(name)
    return name


@task("order.again", retry=RetryPolicy(max_attempts=2))
async def again(name: str, ctx: TaskContext) -> str:
    """Fail the first time."""
    ran.append(name)
    if ctx.attempt == 1:
        raise ValueError(name)
    return name


@pytest.fixture
def harness() -> Harness:
    ran.clear()
    return Harness(step, again, clock=FakeClock(START))


async def submitted(harness: Harness, *wanted: tuple[str, dict[str, Any]]) -> list[UUID]:
    """Submit steps by name; a parent that is named as a text is the step of that name."""
    ids: dict[str, UUID] = {}
    for name, options in wanted:
        told = dict(options)
        if "depends_on" in told:
            told["depends_on"] = [ids[parent] for parent in told["depends_on"]]
        ids[name] = (await harness.submit(step.request(name), **told)).id
    return list(ids.values())


def states(harness: Harness, ids: list[UUID]) -> str:
    """Return a letter for each: `s`cheduled, `a`vailable, `b`locked, `d`iscarded, `c`ancelled, and `o` for completed."""
    found = [harness.task(each).state for each in ids]
    return "".join("o" if state is State.COMPLETED else state[0] for state in found)


SEQ, STOP = {"sequence_key": "k"}, {"sequence_key": "k", "sequence_on_failure": "stop"}
OTHER = {"sequence_key": "other"}


def after(*names: str, **options: Any) -> dict[str, Any]:
    return {"depends_on": list(names), **options}


# 提交什么、提交之后的状态、都跑过之后的状态、按什么次序跑的
PLAYED: dict[str, tuple[list[tuple[str, dict[str, Any]]], str, str, str]] = {
    "one at a time": ([("a", SEQ), ("b", SEQ), ("c", SEQ)], "abb", "ooo", "a b c"),
    "keys are apart": ([("a", SEQ), ("x", OTHER), ("b", SEQ), ("y", OTHER)], "aabb", "oooo", "a x b y"),
    "a priority passes nobody": ([("a", SEQ), ("b", {**SEQ, "priority": 1}), ("c", {"priority": 1})], "aba", "ooo", "c a b"),
    "a failure goes on": ([("bad", SEQ), ("b", STOP)], "ab", "do", "bad b"),
    "a failure stops": ([("bad", STOP), ("b", SEQ), ("c", {})], "aba", "dbo", "bad c"),
    "not before its time": ([("a", {**SEQ, "delay_s": 60}), ("b", SEQ)], "sb", "sb", ""),
    "it has its turn, then waits": ([("a", SEQ), ("b", {**SEQ, "delay_s": 60})], "ab", "os", "a"),
    "after its parents": ([("a", {}), ("b", {}), ("c", after("a", "b", "a"))], "aab", "ooo", "a b c"),
    "after one that waits": ([("a", {"delay_s": 60}), ("b", after("a"))], "sb", "sb", ""),
    "cancelled with its parent": ([("bad", {}), ("b", after("bad")), ("c", after("b"))], "abb", "dcc", "bad"),
    "cancelled once": ([("bad", {}), ("b", after("bad")), ("c", after("bad", "b"))], "abb", "dcc", "bad"),
    "cancelled though others are live": ([("x", {"delay_s": 9}), ("bad", {}), ("c", after("x", "bad"))], "sab", "sdc", "bad"),
    "run all the same": ([("bad", {}), ("b", after("bad", on_parent_failure="run"))], "ab", "do", "bad b"),
    "its turn and its parents": ([("a", {}), ("b", {**SEQ, **after("a")}), ("c", SEQ)], "abb", "ooo", "a b c"),
    "cancelled at its turn": ([("bad", {}), ("b", {**STOP, **after("bad")}), ("c", SEQ)], "abb", "dco", "bad c"),
    "a stop holds children": ([("bad", STOP), ("b", SEQ), ("c", after("b"))], "abb", "dbb", "bad"),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "before", "then", "order"), PLAYED.values(), ids=PLAYED.keys())
async def test_what_is_let_go(
    harness: Harness, wanted: list[tuple[str, dict[str, Any]]], before: str, then: str, order: str
) -> None:
    ids = await submitted(harness, *wanted)
    assert states(harness, ids) == before
    await harness.drain()
    assert (states(harness, ids), " ".join(ran)) == (then, order)


async def test_a_parent_that_has_ended_counts_at_once(harness: Harness) -> None:
    good, bad = await submitted(harness, ("a", {}), ("bad", {}))
    await harness.drain()
    for parents, run, state in (
        ([good], "cancel", State.AVAILABLE),
        ([good, bad], "run", State.AVAILABLE),
        ([good, bad], "cancel", State.CANCELLED),
    ):
        order = await harness.submit(step.request("c"), depends_on=parents, on_parent_failure=run)  # type: ignore[arg-type]
        assert await order.status() is state
    with pytest.raises(TaskCancelled, match=f"ParentFailed: the task {bad} on which it depends did not complete: discarded"):
        await order.result()
    assert harness.task(order.id).cancel_requested_at is not None


@pytest.mark.parametrize(("what", "then"), [("retry", "dbb"), ("skip", "doo"), ("cancel", "doo")])
async def test_a_stopped_sequence_goes_on_when_somebody_says_so(harness: Harness, what: str, then: str) -> None:
    ids = await submitted(harness, ("bad", STOP), ("b", SEQ), ("c", SEQ))
    assert await harness.drain(future=True) == 1
    assert harness.next_due is None
    told = getattr(harness, what)(ids[0])
    assert told.state is (State.AVAILABLE if what == "retry" else State.DISCARDED)
    await harness.drain()
    assert states(harness, ids) == then
    if what != "retry":
        for refused, code in ((harness.skip, Code.TASK_NOT_SKIPPABLE), (harness.cancel, Code.TASK_NOT_CANCELLABLE)):
            with pytest.raises(TaskmillError) as caught:
                refused(ids[0])
            assert caught.value.code is code


async def test_a_retried_task_has_its_old_place(harness: Harness) -> None:
    ids = await submitted(harness, ("a", SEQ), ("b", {**SEQ, "delay_s": 60}), ("c", SEQ))
    await harness.drain()
    assert harness.retry(ids[0]).state is State.BLOCKED
    harness.advance(60)
    await harness.drain()
    assert (states(harness, ids), ran) == ("ooo", ["a", "b", "a", "c"])


async def test_a_retry_of_a_parent_brings_no_child_back(harness: Harness) -> None:
    ids = await submitted(harness, ("bad", {}), ("b", after("bad")))
    await harness.drain()
    harness.retry(ids[0])
    assert states(harness, ids) == "ac"
    assert harness.retry(ids[1]).state is State.AVAILABLE


async def test_who_waits_for_its_next_attempt_is_passed_by_nobody(harness: Harness) -> None:
    first = await harness.submit(again.request("a"), sequence_key="k")
    second = await harness.submit(step.request("b"), sequence_key="k")
    await harness.drain()
    assert (await first.status(), await second.status()) == (State.RETRYABLE, State.BLOCKED)
    assert await harness.drain(future=True) == 2
    assert ran == ["a", "a", "b"]


@pytest.mark.parametrize("expires", ["head", "blocked"])
async def test_what_expires_makes_way_or_is_gone(harness: Harness, expires: str) -> None:
    soon = {"expires_at": START.replace(second=30)}
    head, blocked = (soon, {}) if expires == "head" else ({}, soon)
    ids = await submitted(
        harness, ("a", {**SEQ, "delay_s": 60, **head}), ("b", {**SEQ, **blocked}), ("c", after("b")), ("d", after("c"))
    )
    await harness.drain(future=True)
    assert states(harness, ids) == ("dooo" if expires == "head" else "odcc")


async def test_children_that_expire_with_their_parent_have_expired(harness: Harness) -> None:
    soon = {"expires_at": START.replace(second=30)}
    ids = await submitted(harness, ("a", {"delay_s": 60, **soon}), ("b", after("a", **soon)))
    harness.advance(30)
    await harness.drain()
    assert states(harness, ids) == "dd"


async def test_a_cancel_makes_way_too(harness: Harness) -> None:
    ids = await submitted(harness, ("a", STOP), ("b", SEQ), ("c", SEQ), ("d", after("b")))
    harness.cancel(ids[1])
    assert states(harness, ids) == "acbc"
    harness.cancel(ids[0])
    assert states(harness, ids) == "ccac"


async def test_a_long_chain_is_cancelled_whole(harness: Harness) -> None:
    last = (await harness.submit(step.request("bad"))).id
    for n in range(2_000):
        last = (await harness.submit(step.request(str(n)), depends_on=[last])).id
    await harness.drain()
    assert {each.state for each in harness.submitted[1:]} == {State.CANCELLED}


async def test_a_duplicate_brings_no_order_and_a_replaced_one_keeps_its_own(harness: Harness) -> None:
    once = Unique(key="u", on_duplicate="replace")
    first = await harness.submit(step.request("a"), sequence_key="k")
    second = await harness.submit(step.request("b"), sequence_key="k", unique=once)
    dup = await harness.submit(step.request("new"), sequence_key="other", depends_on=[first.id], unique=once)
    assert (dup.id, dup.replaced, await dup.status()) == (second.id, True, State.BLOCKED)
    third = await harness.submit(step.request("c"), sequence_key="other")
    assert await third.status() is State.AVAILABLE
    await harness.drain()
    assert ran == ["a", "c", "new"]


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"depends_on": [new_id()]}, Code.PARENT_NOT_FOUND, "depends_on[0]"),
        ({"depends_on": [new_id() for _ in range(DEPENDS_ON_MAX + 1)]}, Code.INVALID_REQUEST, "depends_on"),
        ({"depends_on": ["no id"]}, Code.INVALID_REQUEST, "submit"),
        ({"sequence_key": ""}, Code.INVALID_REQUEST, "sequence_key"),
        ({"sequence_on_failure": "stop"}, Code.INVALID_REQUEST, "sequence_on_failure"),
        ({"on_parent_failure": "run"}, Code.INVALID_REQUEST, "on_parent_failure"),
    ],
)
async def test_what_does_not_fit_is_refused(harness: Harness, options: dict[str, Any], code: Code, field: str) -> None:
    with pytest.raises(TaskmillError) as caught:
        await harness.submit(step.request("a"), **options)
    assert (caught.value.code, caught.value.details["field"]) == (code, field)
    assert "index" not in caught.value.details
    assert harness.submitted == []


async def test_a_batch_that_is_refused_leaves_no_trace_in_the_order(harness: Harness) -> None:
    (head,) = await submitted(harness, ("a", {**SEQ, "delay_s": 60}))
    batch = [step.request(name).having(sequence_key="k", depends_on=[head]) for name in "bc"]
    for last, code in (
        (step.request("d").having(depends_on=[new_id()]), Code.PARENT_NOT_FOUND),
        (step.request("d").having(unique=Unique(key="u", on_duplicate="refuse")), Code.UNIQUE_TAKEN),
    ):
        await harness.submit(step.request("u"), unique=Unique(key="u"))
        with pytest.raises(TaskmillError) as caught:
            _ = [order async for order in harness.submit_many([*batch, last])]
        assert (caught.value.code, caught.value.details["index"]) == (code, 2)
    orders = [order async for order in harness.submit_many(batch)]
    harness.advance(60)
    await harness.drain()
    assert states(harness, [head, *(order.id for order in orders)]) == "ooo"
    assert ran == ["a", "u", "b", "c"]


async def test_a_handler_submits_what_comes_after_itself() -> None:
    done: list[str] = []

    @task("order.parent")
    async def parent(ctx: TaskContext) -> None:
        await ctx.submit("order.child", depends_on=[ctx.id])
        done.append("parent")

    @task("order.child")
    async def child() -> None:
        done.append("child")

    async with Harness(parent, child, mode="inline") as inline:
        await inline.submit(parent.request())
    assert done == ["parent", "child"]


def test_the_same_without_an_event_loop() -> None:
    with SyncHarness(step) as harness:
        first = harness.submit(step.request("bad"), sequence_key="k", sequence_on_failure="stop")
        second = harness.submit(step.request("b"), sequence_key="k")
        assert harness.drain() == 1
        assert second.status() is State.BLOCKED
        assert harness.skip(first.id).state is State.DISCARDED
        assert harness.drain() == 1
        assert second.result() == "b"
