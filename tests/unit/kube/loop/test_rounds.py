"""A round's end: what is written to the object and told, when, and by whom; with a cluster that remembers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    NameTakenError,
    NotFoundError,
    TransientError,
)
from taskmill.kube.loop.apply import NotLeadingError
from taskmill.kube.loop.queue_round import Reconciler
from taskmill.kube.loop.rollout_limit import Rollouts
from taskmill.kube.loop.rounds import Known
from taskmill.kube.loop.tick import Scaling
from taskmill.kube.plan.conditions import stamp
from taskmill.kube.state import (
    Apply,
    Create,
    DeleteSchedule,
    DeletionCost,
    Event,
    Manifest,
    OrderWorkers,
    Plan,
    PutPolicy,
    RecordDeath,
    Scale,
    SetFinalizer,
    State,
)
from taskmill.services.fleet import Cause, Order, PodDeath, QueuePolicyChange
from tests.unit.kube.loop.world import KEY, World, account
from tests.unit.kube.objects import queue

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World()


async def test_a_status_waits_once_and_no_longer(world: World) -> None:
    numbers = itertools.count()

    def planner(_state: State) -> Plan:
        status = {"replicas": next(numbers), "observedGeneration": 1, "conditions": []}
        return Plan((Apply(account("uid-emails"), "w"),), status)

    tools = world._tools
    reconciler = Reconciler(
        tools, planner, Scaling(tools.facts, world.queue.add, world.metrics), Rollouts(5, world.queue.add)
    )
    found: list[str] = []
    for _ in range(5):
        world.cluster.writes.clear()
        await reconciler.run(KEY)
        found.append("".join("s" if verb == "status" else "a" for verb, _ in world.cluster.writes))
    assert found == ["as", "a", "as", "a", "as"]  # 还没见过的 spec 不等


async def test_what_somebody_else_has_is_not_applied_and_the_condition_says_so(world: World) -> None:
    theirs: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "emails-worker", "namespace": "app"},
    }
    for there, taken in ((theirs, True), (account("other"), True), (account("uid-emails"), False), (None, False)):
        world.cluster.writes.clear()
        world.cluster.there = {"emails-worker": there} if there else {}
        action = Apply(account("uid-emails"), "w", fresh=True)
        if taken:
            with pytest.raises(NameTakenError, match="ServiceAccount emails-worker belongs to somebody else") as caught:
                await world.applier.run(KEY, (action,), None)
            world.error = caught.value
            await world.go()
            assert world.reason == "ObjectNameTaken"
            assert "taskmill-controller" not in {verb for verb, _ in world.cluster.writes}
        else:
            await world.applier.run(KEY, (action,), None)
            assert [verb for verb, _ in world.cluster.writes] == ["taskmill-controller"]


async def test_a_status_that_stays_is_not_written_and_numbers_alone_not_too_often(world: World) -> None:
    world.status = {"work": {"ready": 1}, "replicas": 1, "conditions": []}
    assert await world.go() == ["status"]
    assert await world.go(c.KUBE_STATUS_PERIOD_S) == []
    world.status = {**world.status, "work": {"ready": 2}}
    assert await world.go() == ["status"]
    world.status = {**world.status, "work": {"ready": 3}}
    assert await world.go(1) == []  # 只是数字，刚写过
    assert await world.go(c.KUBE_STATUS_PERIOD_S) == ["status"]
    world.status = {**world.status, "replicas": 2}
    assert await world.go() == ["status"]  # 别的一变就写


async def test_what_repeats_becomes_one_series(world: World) -> None:
    world.events = (Event("Normal", "ScaledUp", "from 1 to 2"),)
    assert await world.go() == ["create"]
    assert await world.go(1) == ["merge"]
    ((_, body),) = world.cluster.writes
    assert body["series"]["count"] == 2
    world.events = (Event("Normal", "ScaledUp", "\u4e00" * 1000),)
    await world.go(1)
    ((_, body),) = world.cluster.writes
    assert len(body["note"].encode()) <= 1024
    assert await world.go(c.KUBE_EVENT_SERIES_S) == ["create"]


async def test_an_event_that_cannot_be_posted_stops_nothing(world: World) -> None:
    world.events = (Event("Normal", "ScaledUp", "from 1 to 2"),)
    for error in (ForbiddenError, TransientError):
        world.cluster.error = error("create", "events app/", 403, "", "no")
        assert await world.go() == []
    world.cluster.error = None
    assert await world.go() == ["create"]


async def test_nothing_is_published_after_the_lease_is_lost(world: World) -> None:
    world.status, world.events, world.loses = {"replicas": 1}, (Event("Normal", "ScaledUp", "x"),), True
    assert await world.go() == []
    world.clock.advance(c.LEASE_RETRY_S)
    assert world.queue.take_nowait() == KEY  # 只是续租迟了的话，接着做
    with pytest.raises(NotLeadingError):
        await world.applier.run(KEY, [Scale("d", 1, "")], None)
    assert world.cluster.writes == []


async def test_a_bug_marks_the_object_without_the_words_of_the_error(world: World) -> None:
    world.error = LookupError("postgresql://user:hush@db")
    assert await world.go() == ["status", "create"]
    assert "hush" not in repr(world.cluster.writes)
    assert world.reason == "InternalError"
    assert await world.go(60) == []  # 同样的错再来一次，不必再说
    assert world.queue.take_nowait() == KEY


class Held:
    """Claims of another operator."""

    def __init__(self, holder: str) -> None:
        self.holder = holder

    async def other(self, namespace: str) -> str:
        return self.holder


async def test_who_waits_for_a_claim_says_for_whom_unless_the_holder_has_seen_to_it(world: World) -> None:
    claims: Any = Held("old/release")
    world._tools = replace(world._tools, claims=claims)
    assert await world.go() == []
    assert await world.go(c.CLAIM_LOOK_S - 1) == []  # 那一位也许正要来看
    assert await world.go(1) == ["status"]
    ((_, body),) = world.cluster.writes
    assert body["metadata"]["resourceVersion"] == "1"  # 它刚写过，就不写
    (ready,) = body["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "ClaimedByOther")
    assert all(words in ready["message"] for words in ("old/release", "Lease taskmill-operator-claim", "-n app"))
    assert await world.go(c.CLAIM_LOOK_S) == []  # 说过了
    claims.holder, world.status = "", {"observedGeneration": 1, "conditions": []}
    assert await world.go(c.CLAIM_LOOK_S) == ["status"]
    claims.holder = "old/release"
    for _ in range(3):
        assert await world.go(c.CLAIM_LOOK_S) == []  # 这一代有人看过


async def test_a_status_that_the_holder_of_the_claim_has_just_written_is_left_alone(world: World) -> None:
    claims: Any = Held("old/release")
    world._tools = replace(world._tools, claims=claims)
    await world.go()
    world.cluster.error = ConflictError("apply", "taskqueues/status app/emails", 409, "Conflict", "changed")
    assert await world.go(c.CLAIM_LOOK_S) == []
    assert world.queue.depth == 0  # 不算失败，不必急着再试


async def test_what_is_forbidden_is_told_only_when_it_lasts(world: World) -> None:
    world.error = ForbiddenError("apply", "deployments app/x", 403, "Forbidden", "no right")
    assert await world.go() == []
    assert await world.go(c.KUBE_FORBIDDEN_S) == ["status", "create"]
    assert world.reason == "Forbidden"
    assert "apply deployments app/x" in repr(world.cluster.writes)
    world.error, world.status = None, {"conditions": []}
    await world.go()
    world.error = ForbiddenError("apply", "deployments app/x", 403, "Forbidden", "no right")
    assert await world.go(1) == []  # 从头数起


async def test_what_is_wrong_for_good_is_told_at_once_and_what_passes_is_not(world: World) -> None:
    error = TransientError("apply", "x", 429, "TooManyRequests", "busy")
    error.retry_after_s = 40
    world.error = error
    assert await world.go() == []
    assert world.queue.ripen() == 40
    world.error = InvalidError("apply", "x", 422, "Invalid", "spec.image")
    assert await world.go() == ["status", "create"]
    assert world.reason == "InvalidSpec"


@pytest.mark.parametrize(
    ("kind", "words", "reason"),
    [
        (ForbiddenError, "exceeded quota: few, requested: count/jobs.batch=1", "QuotaExceeded"),
        (ForbiddenError, "ValidatingAdmissionPolicy 'team' with binding 'team' denied request: label team", "AdmissionRefused"),
        (InvalidError, 'admission webhook "x" denied the request: no', "AdmissionRefused"),
        (InvalidError, "spec.template.spec.volumes[0].name: Invalid value", "InvalidSpec"),
    ],
)  # fmt: skip
async def test_what_refuses_an_object_is_named_rightly(world: World, kind: Any, words: str, reason: str) -> None:
    world.error = kind("create", "jobs app/j", 403, "x", words)
    assert await world.go() == ["status", "create"]
    assert world.reason == reason


async def test_what_was_seen_is_written_even_if_the_round_fails(world: World) -> None:
    seen = {
        "type": "Migrated", "status": "True", "reason": "UpToDate", "message": "Job j is done",
        "lastTransitionTime": "2026-11-24T12:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    world._known[KEY] = Known(7, [seen])
    world.error = ForbiddenError("apply", "deployments app/x", 403, "x", "exceeded quota: few")
    await world.go()
    found = world.cache.get(k.TASK_QUEUE, "app", "emails") or {}
    assert {**seen, "lastTransitionTime": stamp(world.clock.now())} in found["status"]["conditions"]
    assert world.reason == "QuotaExceeded"


async def test_an_object_that_went_while_its_status_was_written_is_no_error(world: World) -> None:
    world.status = {"replicas": 1}
    world.cluster.error = NotFoundError("apply", "x", 404, "NotFound", "")
    assert await world.go() == []
    assert world.queue.ripen() == c.RESYNC_S


async def test_actions_are_written_and_seen_at_once(world: World) -> None:
    await world.applier.run(KEY, [SetFinalizer(present=True)], None)
    ((_, body),) = world.cluster.writes
    assert body["metadata"]["finalizers"] == [names.FINALIZER]
    assert body["metadata"]["resourceVersion"] == "1"  # 别人改过就不覆盖
    await world.applier.run(KEY, [SetFinalizer(present=True)], None)
    assert len(world.cluster.writes) == 1
    await world.applier.run(KEY, [DeletionCost("p0", None), Scale("d", 2, "")], None)
    assert [verb for verb, _ in world.cluster.writes] == ["merge", "merge", "scale"]


async def test_a_job_that_is_there_already_is_fine(world: World) -> None:
    world.cluster.error = ExistsError("create", "jobs", 409, "AlreadyExists", "")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "app"}}
    await world.applier.run(KEY, [Create(job, "")], None)


async def test_an_object_that_is_gone_is_forgotten(world: World) -> None:
    world.error = ForbiddenError("apply", "x", 403, "", "")
    await world.go()
    gone = world.cache.get(k.TASK_QUEUE, "app", "emails")
    assert gone is not None
    world.cache.remove(k.TASK_QUEUE, gone)
    assert await world.go() == []
    assert world.queue.ripen() is None
    assert not world._forbidden


async def test_an_object_with_the_longest_name_can_have_events(world: World) -> None:
    about = queue("x" * 235 + "." + "y" * 17)
    await world.poster.post(about, Event("Normal", "Scheduled", "x"))
    ((_, body),) = world.cluster.writes
    assert len(body["metadata"]["name"]) <= 253
    assert ".." not in body["metadata"]["name"]


class Link:
    """A database that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    async def service(self) -> Any:
        return self

    async def order(self, uids: Sequence[str], order: Order, token: int) -> int:
        self.told.append((*uids, order, token))
        return 1

    async def put_queue(self, name: str, change: QueuePolicyChange, by: str, former: str) -> None:
        self.told.append((name, change.values(), by, former))

    async def bury(self, deaths: Sequence[PodDeath]) -> int:
        self.told += [(death.pod_uid, death.cause) for death in deaths]
        return 1

    async def delete_schedule(self, name: str, *, owner: str) -> bool:
        self.told.append((name, owner))
        return True

    async def refresh_policies(self) -> None:
        self.told.append(("refresh",))

    def wake(self) -> None:
        self.told.append(("wake",))


async def test_the_database_is_told_with_the_fencing_token_and_of_each_death_once(world: World) -> None:
    made = Link()
    link: Any = made
    death = RecordDeath("u1", "oom", world.clock.now())
    change = QueuePolicyChange(paused=True)
    actions = [
        OrderWorkers(("u1",), Order.DRAIN),
        PutPolicy("emails", change, "op", "before"),
        death,
        DeleteSchedule("nightly", "app/nightly"),
    ]
    await world.applier.run(KEY, [*actions, death], link)
    assert made.told == [
        ("u1", Order.DRAIN, 7), ("wake",), ("emails", change.values(), "op", "before"), ("refresh",), ("u1", Cause.OOM),
        ("nightly", "app/nightly"),
    ]  # fmt: skip
    await world.applier.run(KEY, actions, None)  # 没有数据库就没有可写的
