"""The harness and the real engine play the same scenes and come to the same ends: states, attempts, keys, order, results."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmill import Discard, Retry, RetryPolicy, Snooze, TaskContext, TaskmillError, Unique, task
from taskmill.errors import ConflictError
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import request_of
from taskmill.states import FINAL
from taskmill.testing import Harness, RunningWorker
from taskmill.testing.worker import working

FAR_S = 3600.0  # 不到时间：留着给取消、替换与撤回
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
POLICY = RetryPolicy(max_attempts=3, base_delay=0, discard_on=LookupError)


class Ends(msgspec.Struct):
    """What a task does on its first claim, its second and so on; the last for all further ones."""

    ends: list[str]
    scene: str
    name: str = ""


def end(how: str, ctx: TaskContext) -> Any:
    match how:
        case "retry":
            raise Retry("again", after=0)
        case "snooze":
            raise Snooze(after=0)
        case "fail":
            raise OSError("down")
        case "discard":
            raise Discard("never")
        case "lookup":
            raise LookupError("who?")
        case "group":
            raise ExceptionGroup("both", [OSError("one"), Retry(after=0)])
        case "unstorable":
            return {"at": float("inf")}
        case "unreadable":
            return object()
    return [how, ctx.attempt, ctx.claim_no]


@task("scene.play", retry=POLICY)
async def play(args: Ends, ctx: TaskContext) -> Any:
    return end(args.ends[min(ctx.claim_no, len(args.ends)) - 1], ctx)


@task("scene.thread", retry=POLICY, unique=Unique(by=["name"], while_="waiting"))
def thread(args: Ends, ctx: TaskContext) -> Any:
    return end(args.ends[min(ctx.claim_no, len(args.ends)) - 1], ctx)


@dataclass(frozen=True)
class Submit:
    kind: str
    ends: tuple[str, ...]
    name: str
    far: bool
    unique: Unique | None
    key: str | None = None
    stop: bool = False
    after: tuple[int, ...] = ()
    run: bool = False


@dataclass(frozen=True)
class Do:
    """`cancel`, `retry` or `skip` one of the tasks so far."""

    what: str
    which: int


AGAIN = st.sampled_from(["retry", "snooze", "fail", "group", "unstorable", "unreadable"])
LAST = st.sampled_from(["return", "fail", "discard", "lookup", "retry"])
UNIQUE = st.builds(
    Unique,
    by=st.sampled_from([None, ["name"], ["name", "ends"]]),
    while_=st.sampled_from(["live", "waiting"]),
    period_s=st.sampled_from([None, FAR_S]),
    on_duplicate=st.sampled_from(["return", "replace", "refuse"]),
)
SUBMIT = st.builds(
    Submit,
    kind=st.sampled_from(["scene.play", "scene.thread"]),
    ends=st.builds(lambda some, last: (*some, last), st.lists(AGAIN, max_size=4), LAST),
    name=st.sampled_from(["a", "b"]),
    far=st.booleans(),
    unique=st.none() | UNIQUE,
)
ORDERED = st.builds(
    Submit,
    kind=st.sampled_from(["scene.play", "scene.thread"]),
    ends=st.builds(lambda last: (last,), LAST),
    name=st.sampled_from(["a", "b", "c"]),
    far=st.sampled_from([False, False, True]),
    unique=st.sampled_from([None, None, Unique(by=["name"], on_duplicate="replace")]),
    key=st.sampled_from([None, "k", "l"]),
    stop=st.booleans(),
    after=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    run=st.booleans(),
)
WHICH = st.integers(0, 9)
SCENE = st.lists(SUBMIT | st.builds(Do, st.sampled_from(["cancel", "retry"]), WHICH), min_size=1, max_size=10)
IN_ORDER = st.lists(ORDERED | st.builds(Do, st.sampled_from(["cancel", "retry", "skip"]), WHICH), min_size=2, max_size=12)


class Memory:
    """The scene in a harness."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    async def submit(self, request: dict[str, Any]) -> tuple[UUID, bool, bool]:
        order = await self.harness.submit(request.pop("kind"), request.pop("args"), **request)
        await self.harness.drain()
        return order.id, order.duplicate, order.replaced

    async def do(self, what: str, task_id: UUID) -> None:
        getattr(self.harness, what)(task_id)
        await self.harness.drain()

    async def told(self, task_id: UUID) -> tuple[Any, Any, Any]:
        detail = self.harness.task(task_id)
        result = self.harness.result(task_id) if detail.state in FINAL else None
        return detail, result, self.harness.attempts(task_id)


class Servers:
    """The scene on servers."""

    def __init__(self, worker: RunningWorker) -> None:
        self.worker = worker
        self.platform: Platform = worker.platform

    async def submit(self, request: dict[str, Any]) -> tuple[UUID, bool, bool]:
        done = await self.platform.submit.submit(request_of(request.pop("kind"), request.pop("args"), request))
        await self.worker.idle()
        return done.id, done.duplicate, done.replaced

    async def do(self, what: str, task_id: UUID) -> None:
        await getattr(self.platform.tasks, what)(task_id)
        await self.worker.idle()

    async def told(self, task_id: UUID) -> tuple[Any, Any, Any]:
        detail = await self.platform.tasks.get(task_id)
        final = detail.state in FINAL
        result = decoded((await self.platform.tasks.result(task_id)).result) if final else None
        return detail, result, await self.platform.tasks.attempts(task_id)


def decoded(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def facts(told: tuple[Any, Any, Any]) -> dict[str, Any]:
    """Return all that must be the same; ids, times and traces are each side's own."""
    detail, result, attempts = told
    same = ("kind", "queue", "state", "priority", "attempt", "max_attempts", "claim_no", "crash_count", "unique_key",
            "sequence_key", "tags")  # fmt: skip
    tried = ("claim_no", "attempt", "cause", "error_type", "message", "message_zh")
    return {
        **{name: getattr(detail, name) for name in same},
        "args": decoded(detail.args),
        "error": ID.sub("…", repr(decoded(detail.error))),
        "asked": detail.cancel_requested_at is not None,
        "result": result,
        "attempts": [[getattr(each, name) for name in tried] for each in attempts],
    }


async def played(stage: Memory | Servers, scene: list[Submit | Do], salt: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return what was answered to each step, and what became of each task; ids by the order of their first mention."""
    ids: list[UUID] = []
    answers: list[Any] = []
    for step in scene:
        try:
            if isinstance(step, Submit):
                options = {**ordered(step, ids, salt), **({} if step.unique is None else {"unique": step.unique})}
                args = {"ends": list(step.ends), "scene": salt, "name": f"{step.name}{salt}"}
                far = {"delay_s": FAR_S} if step.far else {}
                task_id, *said = await stage.submit({"kind": step.kind, "args": args, **far, **options})
                if task_id not in ids:
                    ids.append(task_id)
                answers.append((ids.index(task_id), *said))
            elif ids:
                await stage.do(step.what, ids[step.which % len(ids)])
                answers.append(step.what)
        except ConflictError as error:
            answers.append(error.code)
    return answers, [facts(await stage.told(task_id)) for task_id in ids]


def ordered(step: Submit, ids: list[UUID], salt: str) -> dict[str, Any]:
    """Return the options of the order that a step asks for."""
    options: dict[str, Any] = {}
    if step.key is not None:
        options |= {"sequence_key": step.key + salt, "sequence_on_failure": "stop" if step.stop else "continue"}
    if step.after and ids:
        parents = [ids[n % len(ids)] for n in step.after]
        options |= {"depends_on": parents, "on_parent_failure": "run" if step.run else "cancel"}
    return options


async def agree(worker: RunningWorker, scene: list[Submit | Do]) -> None:
    salt = str(new_id())
    async with Harness(play, thread) as harness:
        in_memory = await played(Memory(harness), scene, salt)
    on_servers = await played(Servers(worker), scene, salt)
    assert in_memory == on_servers


@pytest.mark.parametrize("scene", [SCENE, IN_ORDER], ids=["alone", "in order"])
def test_the_harness_ends_where_the_engine_ends(
    taskmill_clean: None, taskmill_database_url: str, taskmill_broker_url: str, scene: st.SearchStrategy[list[Submit | Do]]
) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        servers = {"database_url": taskmill_database_url, "broker_url": taskmill_broker_url}
        worker = runner.run(stack.enter_async_context(working([play, thread], concurrency=1, **servers)))

        @settings(max_examples=20)
        @given(scene)
        def scenes(played: list[Submit | Do]) -> None:
            runner.run(agree(worker, played))

        try:
            scenes()
        finally:
            runner.run(stack.aclose())


def test_a_wrong_argument_is_refused_with_the_same_words(
    taskmill_clean: None, taskmill_database_url: str, taskmill_broker_url: str
) -> None:
    async def both() -> None:
        urls = {"database_url": taskmill_database_url, "broker_url": taskmill_broker_url}
        async with working([play], **urls) as worker, Harness(play) as harness:
            for kind, args in (("scene.play", {"ends": 1}), ("scene.play", {}), ("scene.plya", {})):
                said: list[dict[str, Any]] = []
                for submit in (
                    harness.submit,
                    worker.platform.submit.submit_kind,
                ):
                    try:
                        await submit(kind, args)
                    except TaskmillError as error:
                        said.append({"code": error.code, **error.facts()})
                assert len(said) == 2 and said[0] == said[1]

    asyncio.run(both())
