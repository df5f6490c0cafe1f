"""Submits at a harness: checked, counted as one and refused as in production; what a test says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from taskmill import Concurrency, Fairness, TaskContext, TaskmillError, Unique, task
from taskmill.controls.unique_key import key_of
from taskmill.errors import Code, InputError, UnfitError
from taskmill.states import State
from taskmill.testing import FakeClock, Harness, SyncHarness

pytestmark = pytest.mark.anyio
START = datetime(2026, 3, 1, tzinfo=UTC)


class Letter(msgspec.Struct):
    to: str
    subject: str = "hello"


@task("shop.mail", queue="mail", priority=3)
async def mail(letter: Letter) -> str:
    """Send a letter."""
    return f"sent to {letter.to}"


@task("shop.pack", concurrency=Concurrency(key="customer-{customer}"))
def pack(customer: int, ctx: TaskContext) -> list[int]:
    """Pack in a thread, and tell the customer."""
    ctx.submit_sync("shop.mail", {"to": f"{customer}@shop.example"}, tags=["child"])
    return [customer]


@pytest.fixture
def harness() -> Harness:
    return Harness(mail, pack, clock=FakeClock(START))


@pytest.mark.parametrize(
    ("kind", "args", "options", "code", "field"),
    [
        ("shop.mail", {}, {}, Code.ARGS_INVALID, "args"),
        ("shop.mail", {"to": 1}, {}, Code.ARGS_INVALID, "args.to"),
        ("shop.mail", {"to": "a\x00"}, {}, Code.ARGS_INVALID, "args.to"),
        ("shop.mail", {"to": "a" * 300_000}, {}, Code.ARGS_TOO_LARGE, "args"),
        ("shop.mail", [], {}, Code.ARGS_INVALID, "args"),
        ("shop.mail", {"to": "a"}, {"priority": 9}, Code.INVALID_REQUEST, "priority"),
        ("shop.mail", {"to": "a"}, {"run_at": datetime(2026, 1, 1)}, Code.INVALID_REQUEST, "run_at"),
        ("shop.mail", {"to": "a"}, {"no_such": 1}, Code.INVALID_REQUEST, "submit"),
        ("shop.mail", {"to": "a"}, {"unique": Unique(by=["cc"])}, Code.INVALID_REQUEST, "unique.by[0]"),
        ("shop.mail", {"to": "a"}, {"version": 7}, Code.KIND_NOT_FOUND, None),
        ("shop.mial", {"to": "a"}, {}, Code.KIND_NOT_FOUND, None),
        ("no kind", {}, {}, Code.INVALID_REQUEST, "kind"),
    ],
)
async def test_what_production_refuses_is_refused(
    harness: Harness, kind: str, args: Any, options: dict[str, Any], code: Code, field: str | None
) -> None:
    with pytest.raises(TaskmillError) as caught:
        await harness.submit(kind, args, **options)
    assert (caught.value.code, caught.value.details.get("field")) == (code, field)
    assert harness.submitted == []


async def test_a_request_of_a_kind_and_its_name_are_the_same(harness: Harness) -> None:
    first = await harness.submit(mail.request(Letter(to="ada")), tags=["a"])
    second = await harness.submit("shop.mail", {"to": "ada"}, tags=["a"])
    assert (first.kind, first.duplicate) == (second.kind, False)
    one, other = harness.submitted
    assert (one.kind, one.queue, one.priority, one.tags) == ("shop.mail", "mail", 3, ["a"])
    assert one.args == {"to": "ada", "subject": "hello"}
    assert other.args == {"to": "ada"}
    await harness.drain()
    assert await first.result() == await second.result() == "sent to ada"


async def test_inline_runs_the_task_and_what_it_submits(harness: Harness) -> None:
    async with Harness(mail, pack, mode="inline") as inline:
        order = await inline.submit(pack.request(7))
        assert await order.result() == [7]
        sent = inline.assert_submitted(mail, {"to": "7@shop.example"}, tags=["child"], times=1)
        assert sent.state is State.COMPLETED
        assert inline.result(sent.id) == "sent to 7@shop.example"


async def test_inline_leaves_what_is_not_due() -> None:
    async with Harness(mail, mode="inline") as inline:
        order = await inline.submit("shop.mail", {"to": "ada"}, delay_s=5)
        assert await order.status() is State.SCHEDULED
        with pytest.raises(TimeoutError, match="is scheduled and nothing runs it"):
            await order.result(timeout=30)
        inline.advance(5)
        await inline.drain()
        assert await order.result() == "sent to ada"


async def test_priorities_come_first(harness: Harness) -> None:
    ran: list[int] = []

    @task("test.note")
    async def note(n: int) -> None:
        ran.append(n)

    async with Harness(note) as noting:
        for priority in (4, 2, 1, 2):
            await noting.submit("test.note", {"n": priority}, priority=priority)
        await noting.drain()
    assert ran == [1, 2, 2, 4]


async def test_a_connection_is_refused_unless_it_shall_count_for_nothing(harness: Harness) -> None:
    with pytest.raises(UnfitError, match="has no transactions"):
        await harness.submit("shop.mail", {"to": "a"}, connection=object())
    async with Harness(mail, ignore_connections=True) as lenient:
        await lenient.submit("shop.mail", {"to": "a"}, connection=object())
        lenient.assert_submitted("shop.mail")


async def test_unknown_kinds_wait_if_they_may(harness: Harness) -> None:
    async with Harness(allow_unknown_kinds=True) as open_to_all:
        order = await open_to_all.submit("other.kind", {"a": 1})
        assert await open_to_all.drain(future=True) == 0
        assert await order.status() is State.AVAILABLE


async def test_many_are_stored_or_none(harness: Harness) -> None:
    orders = [order async for order in harness.submit_many(mail.request(Letter(to=str(n))) for n in range(3))]
    assert [order.id for order in orders] == [each.id for each in harness.submitted]
    with pytest.raises(InputError) as caught:
        _ = [order async for order in harness.submit_many([mail.request(Letter("a")), mail.request(Letter("b\x00"))])]
    assert caught.value.details["index"] == 1
    with pytest.raises(TaskmillError) as refused:
        once = Unique(on_duplicate="refuse")
        _ = [order async for order in harness.submit_many([mail.request(Letter("c"))] * 2, unique=once)]
    assert (refused.value.code, refused.value.details["index"]) == (Code.UNIQUE_TAKEN, 1)
    assert len(harness.submitted) == 3


async def test_a_batch_that_is_refused_inside_a_handler_changes_nothing() -> None:
    @task("test.many", unique=Unique(by=[], on_duplicate="refuse"))
    async def many() -> None:
        _ = [order async for order in harness.submit_many([mail.request(Letter("a")), many.request()])]

    async with Harness(many, mail) as harness:
        first, second = await harness.submit("test.many"), await harness.submit("shop.mail", {"to": "b"})
        await harness.drain()
        assert (await first.status(), await second.status()) == (State.RETRYABLE, State.COMPLETED)
        assert [each.kind for each in harness.submitted] == ["test.many", "shop.mail"]


@pytest.mark.parametrize(
    ("rule", "after_first", "second"),
    [
        (Unique(), "nothing", "duplicate"),
        (Unique(), "drained", "new"),
        (Unique(by=["to"]), "nothing", "duplicate"),
        (Unique(while_="waiting"), "drained", "new"),
        (Unique(period_s=60), "drained", "duplicate"),
        (Unique(period_s=60), "later", "new"),
        (Unique(on_duplicate="replace"), "nothing", "replaced"),
        (Unique(on_duplicate="replace", period_s=60), "drained", "duplicate"),
        (Unique(key="mine"), "nothing", "duplicate"),
    ],
)
async def test_unique(harness: Harness, rule: Unique, after_first: str, second: str) -> None:
    first = await harness.submit("shop.mail", {"to": "ada"}, unique=rule)
    if after_first != "nothing":
        await harness.drain()
    if after_first == "later":
        harness.advance(60)
    again = await harness.submit("shop.mail", {"to": "ada"}, unique=rule, delay_s=9)
    said = "replaced" if again.replaced else "duplicate" if again.duplicate else "new"
    assert (said, again.id == first.id) == (second, second != "new")
    if second == "replaced":
        assert harness.next_due == START + timedelta(seconds=9)


async def test_a_duplicate_that_asks_for_it_is_refused_and_a_retry_too(harness: Harness) -> None:
    rule = Unique(on_duplicate="refuse")
    first = await harness.submit("shop.mail", {"to": "ada"}, unique=rule)
    with pytest.raises(TaskmillError) as caught:
        await harness.submit("shop.mail", {"to": "ada"}, unique=rule)
    assert (caught.value.code, caught.value.details["id"]) == (Code.UNIQUE_TAKEN, str(first.id))
    await harness.drain()
    second = await harness.submit("shop.mail", {"to": "ada"}, unique=rule)
    with pytest.raises(TaskmillError) as taken:
        harness.retry(first.id)
    assert (taken.value.code, taken.value.details["id"]) == (Code.UNIQUE_TAKEN, str(second.id))


async def test_the_key_is_that_of_production(harness: Harness) -> None:
    order = await harness.submit("shop.mail", {"to": "ada", "subject": "x"}, unique=Unique(by=["subject", "to"]))
    assert harness.task(order.id).unique_key == key_of("shop.mail", b'["x","ada"]')


async def test_assertions_tell_what_there_is_instead(harness: Harness) -> None:
    await harness.submit("shop.mail", {"to": "ada"}, meta={"a": {"b": 1, "c": 2}})
    assert harness.assert_submitted("shop.mail", {"to": "ada"}, queue="mail").args == {"to": "ada"}
    harness.assert_not_submitted("shop.mail", {"to": "bob"})
    harness.assert_not_submitted(pack)
    with pytest.raises(AssertionError, match=r'(?s)0 of at least one.*"bob".*shop\.mail \{"to":"ada"\} available'):
        harness.assert_submitted("shop.mail", {"to": "bob"})
    with pytest.raises(AssertionError, match="1 of exactly 2"):
        harness.assert_submitted("shop.mail", times=2)
    with pytest.raises(AssertionError, match="1 submitted"):
        harness.assert_not_submitted(mail, queue="mail")
    with pytest.raises(TypeError, match="no field colour"):
        harness.assert_submitted("shop.mail", colour="red")


async def test_a_handler_cannot_drain_its_own_harness() -> None:
    @task("test.drain")
    async def drain() -> int:
        return await harness.drain()

    async with Harness(drain) as harness:
        order = await harness.submit("test.drain")
        await harness.drain()
        assert "draining already" in harness.attempts(order.id)[0].message  # pyright: ignore[reportOperatorIssue]


def test_the_same_without_an_event_loop() -> None:
    with SyncHarness(mail, pack, mode="inline") as harness:
        assert harness.submit(pack.request(7)).result() == [7]
        harness.assert_submitted("shop.mail", {"to": "7@shop.example"})
        many = list(harness.submit_many(mail.request(Letter(str(n))) for n in range(3)))
        assert [order.result() for order in many] == ["sent to 0", "sent to 1", "sent to 2"]
        late = harness.submit("shop.mail", {"to": "ada"}, delay_s=5)
        with pytest.raises(TimeoutError):
            late.result()
        harness.advance(5)
        assert harness.drain() == 1
        assert harness.order(late.id).status() is State.COMPLETED


async def test_a_fairness_key_comes_from_the_kind_or_the_submit_and_is_checked() -> None:
    @task("shop.report", fairness=Fairness(key="{tenant}"))
    async def report(tenant: str) -> None: ...

    async with Harness(report, clock=FakeClock(START)) as harness:
        await harness.submit(report.request("a"))
        await harness.submit(report.request("a"), fairness_key="b")
        assert [each.fairness_key for each in harness.submitted] == ["a", "b"]
        with pytest.raises(InputError) as caught:
            await harness.submit(report.request("a"), fairness_key="")
        assert caught.value.details["field"] == "fairness_key"
        assert await harness.drain() == 2
