"""A round that fails, or that is not ours to make: what is told all the same, and what is told no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import (
    ForbiddenError,
    InvalidError,
)
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.queue_round import Reconciler
from taskmill.kube.loop.rollout_limit import Rollouts
from taskmill.kube.loop.tick import Scaling
from taskmill.kube.plan import conditions
from taskmill.kube.plan.conditions import Verdict, stamp
from taskmill.kube.state import (
    Apply,
    Create,
    Event,
    Manifest,
    Plan,
    Recall,
    State,
)
from tests.unit.kube.loop.world import KEY, Cluster, World, account

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World()


def planning(
    world: World, *conditions_: tuple[str, bool, str], events: Sequence[Event] = (), action: Any = None
) -> Reconciler:
    """Return a reconciler whose plan says this, and does something that the cluster may refuse."""

    def planner(given: State) -> Plan:
        verdicts = [Verdict(kind, status, reason, "words") for kind, status, reason in conditions_]  # type: ignore[arg-type]
        before = (given.queue.get("status") or {}).get("conditions") or ()
        made = conditions.merge(before, verdicts, 1, world.clock.now())
        told = (*events, *conditions.transitions(before, made))
        return Plan((action or Apply(account("uid-emails"), "w"),), {"conditions": made}, told)

    facts = world._tools.facts
    scaling = Scaling(facts, world.queue.add, world.metrics)
    return Reconciler(world._tools, planner, scaling, Rollouts(5, world.queue.add))


class RefusesOnly:
    """Refuses what the controller applies; statuses and events are taken."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.write = cluster, cluster._write
        cluster._write = self._write  # type: ignore[method-assign]
        self.refuses = True

    def _write(self, verb: str, body: Manifest) -> Manifest:
        if self.refuses and verb == names.CONTROLLER:
            raise ForbiddenError("apply", "deployments app/x", 403, "x", "exceeded quota: few")
        return self.write(verb, body)


def told(world: World) -> list[str]:
    return [body["reason"] for verb, body in world.cluster.writes if verb == "create"]


def times(world: World) -> dict[str, tuple[str, str]]:
    found = (world.cache.get(k.TASK_QUEUE, "app", "emails") or {}).get("status") or {}
    return {each["type"]: (each["status"], each["lastTransitionTime"]) for each in found.get("conditions") or ()}


async def test_a_plan_that_cannot_be_carried_out_tells_what_it_saw_once_with_the_time_it_began(world: World) -> None:
    refuser, begin = RefusesOnly(world.cluster), stamp(world.clock.now())
    completed = Event("Normal", "MigrationCompleted", "Job j is done")
    seen = (("BrokerReachable", False, "BrokerUnreachable"), ("Migrated", True, "UpToDate"), ("Ready", False, "RollingOut"))
    reconciler = planning(world, *seen, events=(completed,))
    await reconciler.run(KEY)
    assert (world.reason, sorted(told(world))) == (
        "QuotaExceeded",
        ["BrokerUnreachable", "MigrationCompleted", "QuotaExceeded"],
    )
    assert times(world)["BrokerReachable"] == ("False", begin)
    world.clock.advance(60)
    world.cluster.writes.clear()
    await reconciler.run(KEY)
    assert told(world) == []
    assert times(world)["BrokerReachable"] == ("False", begin)
    refuser.refuses = False
    reconciler = planning(world, ("BrokerReachable", True, "Reachable"), ("Ready", True, "AsDesired"))
    world.clock.advance(60)
    await reconciler.run(KEY)
    await reconciler.run(KEY)
    assert times(world)["BrokerReachable"] == ("True", stamp(world.clock.now()))


async def test_that_a_job_was_made_is_not_told_before_it_is(world: World) -> None:
    RefusesOnly(world.cluster)
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "app"}}
    seen = (("Migrated", False, "JobRunning"), ("BrokerReachable", True, "Reachable"))
    world.cluster.error = ForbiddenError("create", "jobs app/j", 403, "x", "exceeded quota: few")
    reconciler = planning(world, *seen, action=Create(job, ""))
    await reconciler.run(KEY)
    known = reconciler._known[KEY]
    assert [each["type"] for each in known.conditions] == ["BrokerReachable"]


async def test_what_was_known_before_the_lease_was_lost_is_not_told_after(world: World) -> None:
    RefusesOnly(world.cluster)
    reconciler = planning(world, ("BrokerReachable", False, "BrokerUnreachable"))
    await reconciler.run(KEY)
    newer = world.cache.get(k.TASK_QUEUE, "app", "emails") or {}
    found = next(each for each in newer["status"]["conditions"] if each["type"] == "BrokerReachable")
    found |= {"status": "True", "reason": "Reachable"}  # 其间别的主控写过
    world.fence = 8
    reconciler.connect = failing  # type: ignore[method-assign]
    await reconciler.run(KEY)
    assert times(world)["BrokerReachable"][0] == "True"


async def failing(_: Key) -> Any:
    raise InvalidError("get", "secrets app/db", 400, "x", "no")


async def test_a_queue_that_another_operator_sees_to_is_measured_no_more_and_its_database_is_left(world: World) -> None:
    claims = Foreign()
    world._tools = replace(world._tools, claims=claims)  # type: ignore[arg-type]
    facts = world._tools.facts
    reconciler = planning(world, ("BrokerReachable", False, "BrokerUnreachable"))
    await reconciler.run(KEY)
    await reconciler.run(KEY)
    assert b"broker_unreachable" in numbers(world)
    link = facts.databases.use(KEY, "postgresql://u@h/d")
    claims.holder = "other/op"
    world.cluster.writes.clear()
    await reconciler.run(KEY)
    assert (numbers(world), link.users, world.cluster.writes) == (b"", [], [])
    assert KEY not in reconciler._known
    await facts.databases.close()


def numbers(world: World) -> bytes:
    lines = world.metrics.render().splitlines()
    return b"\n".join(line for line in lines if b'name="emails"' in line)


class Foreign:
    """Who acts in every namespace instead of us."""

    holder = ""

    async def other(self, namespace: str) -> str:
        return self.holder


async def test_who_does_not_lead_publishes_no_numbers_of_queues(world: World) -> None:
    world.metrics.queue("app", "emails", {"ready_tasks": 7})
    assert b"ready_tasks" in numbers(world)
    world.metrics.act(acting=False)
    world.metrics.queue("app", "emails", {"ready_tasks": 8})  # 还有一拍在路上
    assert numbers(world) == b""
    world.metrics.act(acting=True)
    world.metrics.queue("app", "emails", {"ready_tasks": 9})
    assert b" 9.0" in numbers(world)


async def test_what_comes_back_otherwise_than_it_was_applied_is_remembered_until_the_object_goes(world: World) -> None:
    """An admission policy rewrites it, and would again: what it made of our own apply is no edit by anybody."""
    desired = account("uid-emails") | {"automountServiceAccountToken": False}
    world.cluster.rewrites = {"automountServiceAccountToken": True}
    await world.applier.run(KEY, [Apply(desired, "w")], None)
    live = world.cache.get(k.SERVICE_ACCOUNT, "app", "emails-worker")
    assert live is not None and live["automountServiceAccountToken"]
    assert world.cache.rewritten(k.SERVICE_ACCOUNT, live) == {("automountServiceAccountToken", "true")}
    managed = [{"manager": names.CONTROLLER, "operation": "Apply", "fieldsV1": {"f:automountServiceAccountToken": {}}}]
    world.cache._rewritten.clear()  # 重启就忘了：从归属里认出来
    for fields, known in ((managed, {("automountServiceAccountToken", "true")}), ([], set())):
        world.cluster.there = {"emails-worker": {**live, "metadata": {**live["metadata"], "managedFields": fields}}}
        await world.applier.run(KEY, [Recall(desired)], None)
        assert world.cache.rewritten(k.SERVICE_ACCOUNT, live) == known
    world.cluster.rewrites = {}
    await world.applier.run(KEY, [Apply(desired, "w")], None)
    assert world.cache.rewritten(k.SERVICE_ACCOUNT, live) == frozenset()
