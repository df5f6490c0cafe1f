"""The context for unit tests of handlers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskmill import RetryPolicy, TaskContext, task
from taskmill.errors import InputError
from taskmill.testing import FakeClock, make_context


@task("shop.pack", queue="packing", timeout="2m", retry=RetryPolicy(max_attempts=9))
def pack(n: int, ctx: TaskContext) -> int:
    """Pack and tell."""
    ctx.log.info("装箱", n=n)
    ctx.submit_sync("shop.mail", {"to": "ada"}, delay_s=5)
    return ctx.attempt


def test_a_plain_handler_is_called_with_it() -> None:
    context = make_context(pack, attempt=3)
    assert isinstance(context, TaskContext)
    assert pack(2, context) == 3
    assert [(each.kind, each.args, each.delay_s) for each in context.submitted] == [("shop.mail", {"to": "ada"}, 5)]
    line = context.logged[0]
    assert (line["event"], line["n"], line["log_level"], line["kind"]) == ("装箱", 2, "info", "shop.pack")


@pytest.mark.anyio
async def test_a_coroutine_awaits_its_submits() -> None:
    context = make_context()
    assert await context.submit("shop.mail") != await context.submit("shop.mail")
    with pytest.raises(InputError):
        await context.submit("shop.mail", priority=9)
    assert len(context.submitted) == 2


def test_the_facts_are_those_of_the_kind_and_of_the_clock() -> None:
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    context = make_context(pack, clock=clock, meta={"a": 1}, tags=("x",))
    assert (context.kind, context.queue, context.max_attempts) == ("shop.pack", "packing", 9)
    assert context.deadline == clock.now() + timedelta(minutes=2)
    assert (context.meta, context.tags, context.claim_no, context.attempt) == ({"a": 1}, ("x",), 1, 1)


def test_without_a_clock_the_deadline_is_ahead_of_the_systems() -> None:
    left = make_context(timeout_s=60).deadline - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
