"""Whom an event wakes, and whom it leaves alone."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.cache import Cache
from taskmill.kube.observe.database_access import identity_of
from taskmill.kube.observe.databases import Databases
from taskmill.kube.observe.facts import GROUPERS, Facts
from taskmill.kube.observe.intake import DELETED, Intake
from taskmill.kube.observe.secret_facts import Secrets
from taskmill.kube.state import Manifest, Options
from tests.unit.kube.objects import queue

pytestmark = pytest.mark.anyio
URL = "postgresql://user@db/tasks"
KEY = Key.queue("app", "emails")


class World:
    def __init__(self) -> None:
        reader: Any = None
        self.woken: list[Key] = []
        self.databases = Databases(lambda _: 0.0)
        self.facts = Facts(Cache(GROUPERS), Secrets(reader), self.databases, reader, Options("", 8801, "op"))
        self.intake = Intake(self.facts, self.woken.append, Metrics())

    def event(self, kind: k.Kind, manifest: Manifest, change: str = "MODIFIED") -> list[Key]:
        self.woken.clear()
        self.intake.event(kind, change, manifest)
        return list(self.woken)


def made(kind: k.Kind, version: int, labels: dict[str, str] | None = None, **fields: Any) -> Manifest:
    metadata = {"name": "x", "namespace": "app", "uid": "u1", "resourceVersion": str(version), "labels": labels or {}}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}


def tq(name: str = "emails", version: int = 1, **spec: Any) -> Manifest:
    return queue(name, metadata={"resourceVersion": str(version)}, **spec)


@pytest.fixture
async def world() -> Any:
    world = World()
    yield world
    await world.databases.close()


async def test_a_child_wakes_its_owner_once_for_each_version(world: World) -> None:
    pod = made(k.POD, 5, names.labels("emails"))
    assert world.event(k.POD, pod) == [KEY]
    assert world.event(k.POD, pod) == []
    assert world.event(k.POD, made(k.POD, 4, names.labels("emails"))) == []
    assert world.event(k.POD, made(k.POD, 6, names.labels("emails")), DELETED) == [KEY]
    assert world.event(k.POD, made(k.POD, 7)) == []  # 不是我们的


async def test_a_job_wakes_all_of_its_database_but_only_with_news(world: World) -> None:
    world.databases.use(KEY, URL)
    world.databases.use(Key.queue("elsewhere", "other"), URL)
    labels = names.job_labels(identity_of(URL), "b", "expand", 0)
    assert world.event(k.JOB, made(k.JOB, 5, labels, spec={}, status={})) == [KEY]
    assert world.event(k.JOB, made(k.JOB, 6, labels, spec={}, status={"ready": 1})) == []
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert world.event(k.JOB, made(k.JOB, 7, labels, spec={}, status=done)) == [KEY]


async def test_who_waited_for_a_queue_name_hears_that_it_is_free(world: World) -> None:
    for each in (tq(), tq("second", queueName="emails"), tq("third")):
        world.event(k.TASK_QUEUE, each)
        world.databases.use(Key.of(k.TASK_QUEUE, each), URL)
    assert world.event(k.TASK_QUEUE, tq(version=9), DELETED) == [KEY, Key.queue("app", "second")]


def secret(version: int, value: str) -> Manifest:
    data = {"url": base64.b64encode(value.encode()).decode()}
    made_ = made(k.SECRET, version, {f"{names.GROUP}/watch": "true"}, data=data)
    made_["metadata"]["name"] = "db"
    return made_


async def test_a_secret_wakes_who_names_it_also_when_only_a_list_shows_that_it_is_gone(world: World) -> None:
    world.event(k.TASK_QUEUE, tq())
    assert world.event(k.SECRET, secret(5, "a")) == [KEY]
    assert world.event(k.SECRET, secret(6, "a")) == []
    assert world.event(k.SECRET, secret(7, "b")) == [KEY]
    world.woken.clear()
    world.intake.replace(k.SECRET, "app", [secret(6, "a")], "6")  # 列表取得早
    assert world.woken == []
    world.intake.replace(k.SECRET, "app", [], "9")
    assert world.woken == [KEY]
    assert world.facts.secrets.value("app", "db", "url") is None


async def test_what_a_list_lacks_wakes_its_owner(world: World) -> None:
    world.event(k.POD, made(k.POD, 5, names.labels("emails")))
    world.woken.clear()
    world.intake.replace(k.POD, "app", [], "9")
    assert world.woken == [KEY]
