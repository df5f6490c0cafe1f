"""The scaling tick over many queues: who is woken, what is remembered, and how long it takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from taskmill import constants as c
from taskmill.clock import FakeClock
from taskmill.kube import constants as kc
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.tick import Scaling
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.cache import Cache
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.observe.databases import Databases
from taskmill.kube.observe.facts import GROUPERS, Facts
from taskmill.kube.observe.secret_facts import Secrets
from taskmill.kube.scale import decide as scaler
from taskmill.kube.state import Options
from taskmill.services.fleet import Order, QueueLoad, QueuePolicy, WorkerFact

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = "2026-01-01T00:00:00Z"
MANY = 200


class World:
    """A cache and a database that answer as the test says."""

    def __init__(self, tick_s: float = c.OPERATOR_TICK_S) -> None:
        self.clock = FakeClock()
        self.woken: list[Key] = []
        self.cache = Cache(GROUPERS)
        databases = Databases(lambda _: 0.0)
        reader: Any = None
        self.facts = Facts(self.cache, Secrets(reader), databases, reader, Options("", 8801, "op"))
        self.scaling = Scaling(self.facts, self.woken.append, Metrics(), tick_s=tick_s, clock=self.clock)
        self.link = DatabaseLink("db", lambda _: 0.0)
        self.link.loads, self.link.workers = {}, ()

    def add(self, name: str, pods: int = 0, **scaling: Any) -> Key:
        reference = {"databaseSecretRef": {"name": "s"}, "brokerSecretRef": {"name": "s"}}
        self._put(k.TASK_QUEUE, name, {"connection": reference, "scaling": scaling})
        self._put(k.DEPLOYMENT, f"{name}-worker", {"replicas": pods}, names.labels(name))
        for index in range(pods):
            self._put(k.POD, f"{name}-{index}", {}, names.labels(name), READY)
        key = Key.queue("ns", name)
        self.link.use(key, "postgresql://h/d")
        return key

    def _put(self, kind: k.Kind, name: str, spec: Any, labels: Any = None, status: Any = None) -> None:
        self.cache.put(kind, {
            "apiVersion": kind.api_version, "kind": kind.kind, "spec": spec, "status": status or {},
            "metadata": {
                "name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "1", "generation": 1,
                "creationTimestamp": STAMP, "labels": labels or {},
            },
        })  # fmt: skip

    def load(self, name: str, ready: int = 0, running: int = 0) -> None:
        assert self.link.loads is not None
        old = self.link.loads.get(name)
        at = self.clock.now()
        finished = old.finished if old is not None else 0
        self.link.loads[name] = QueueLoad(name, ready, running, 0, 1.0 if ready else 0.0, finished, at)

    def tick(self, seconds: float = 5) -> list[Key]:
        self.clock.advance(seconds)
        if self.link.loads is not None:
            self.link.loads = {name: replace(load, at=self.clock.now()) for name, load in self.link.loads.items()}
        self.woken.clear()
        self.scaling.tick(self.link)
        return list(self.woken)


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": STAMP}]}


def worker(queue: str, index: int = 0, **changes: Any) -> WorkerFact:
    fact = WorkerFact(
        uuid4(), f"uid-{queue}-{index}", f"{queue}-{index}", (queue,), "b", 10, 0, draining=False, order=Order.RUN,
        order_token=0, order_seen=0, started_at=NOW, ready=True,
    )  # fmt: skip
    return replace(fact, **changes)


def test_a_queue_is_woken_by_work_and_then_left_alone_while_nothing_changes() -> None:
    world = World()
    key = world.add("emails")
    world.load("emails")
    assert world.tick() == [key]  # 第一次决定
    for _ in range(5):
        assert world.tick() == []
    world.load("emails", ready=40)
    assert world.tick() == [key]
    decision = world.scaling.decision(key)
    assert decision is not None and decision.pods >= 1


def test_a_look_at_the_workers_alone_makes_no_new_decision_but_wakes_for_their_changes() -> None:
    world = World()
    key = world.add("emails", pods=1)
    world.load("emails")
    world.link.workers = (worker("emails"),)
    world.tick()
    before = world.scaling.decision(key)
    world.link.workers = (replace(world.link.workers[0], order=Order.DRAIN, order_seen=-1),)
    world.woken.clear()
    world.scaling.tick(world.link)  # 负载没重读
    assert world.woken == [key]
    assert world.scaling.decision(key) is before
    world.woken.clear()
    world.scaling.tick(world.link)
    assert world.woken == []


def test_unknown_numbers_hold_and_are_decided_on_every_tick() -> None:
    world = World()
    key = world.add("emails", pods=3)
    world.link.loads, world.link.workers = None, None
    for _ in range(4):
        world.tick()
    decision = world.scaling.decision(key)
    assert decision is not None
    assert (decision.pods, decision.memory.failures) == (3, 4)


def test_numbers_that_change_are_published_no_more_often_than_the_status_may_be_written() -> None:
    world = World()
    key = world.add("emails", maxReplicas=1)
    world.load("emails", ready=1000)
    world.tick()
    woken = 0
    for ready in range(1001, 1013):
        world.load("emails", ready=ready)
        woken += world.tick().count(key)
    assert 2 <= woken <= 6  # 一分钟里最多每 15 秒一次，外加决定本身的变化


def test_a_tick_decides_once_for_each_queue_and_wakes_nobody_whose_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it takes is measured by benchmarks/operator_scale.py."""
    world, decided = World(), Counter[str]()
    for number in range(MANY):
        name = f"q{number}"
        world.add(name, pods=2)
        world.load(name, running=3)
    world.link.workers = tuple(worker(f"q{number}", index, running=2) for number in range(MANY) for index in range(2))
    decide = scaler.decide

    def counted(inputs: scaler.Inputs, *rest: Any) -> scaler.Decision:
        decided[inputs.load.queue if inputs.load else ""] += 1
        return decide(inputs, *rest)

    monkeypatch.setattr("taskmill.kube.loop.tick.scaler.decide", counted)
    assert len(world.tick()) == MANY
    assert len(decided) == MANY
    assert set(decided.values()) == {1}
    for _ in range(3):
        world.tick()
    assert max(decided.values()) <= 4


def test_one_queue_that_cannot_be_decided_on_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    bad, good = world.add("bad"), world.add("good")
    decide = scaler.decide
    broken = iter([True])

    def sometimes(*arguments: Any) -> Any:
        if next(broken, False):
            raise ZeroDivisionError
        return decide(*arguments)

    monkeypatch.setattr("taskmill.kube.loop.tick.scaler.decide", sometimes)
    assert world.tick() == [good]
    assert world.scaling.decision(bad) is None


def test_a_policy_that_somebody_changed_in_the_database_wakes_its_queue() -> None:
    world = World()
    key = world.add("emails")
    world.load("emails")
    world.link.policies = {"emails": QueuePolicy()}
    world.tick()
    assert world.tick() == []
    world.link.policies = {"emails": QueuePolicy(paused=True, paused_by="ann")}
    assert world.tick() == [key]
    assert world.tick() == []


@pytest.mark.parametrize("tick_s", [1.0, 5.0, 30.0])
def test_an_operator_that_looks_less_often_looks_further_ahead(tick_s: float) -> None:
    world = World(tick_s)
    world.add("emails")
    world.clock.advance(tick_s)
    assert world.scaling.tick(world.link) == kc.BOOT_PRIOR_S + tick_s
