"""The operator as a whole, as far as no cluster is needed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from asyncpg import InvalidPasswordError

from taskmill.clock import FakeClock
from taskmill.errors import Code, UnavailableError
from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.crd.model import parse_queue
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.runtime import Operator, OperatorConfig
from taskmill.kube.state import Manifest
from tests.unit.kube.objects import SPEC, queue

CONFIG = OperatorConfig(
    namespaces=("ns",), home="ns", identity="op-0", default_image="", lease_name="op", health_host="127.0.0.1"
)


@pytest.mark.anyio
async def test_a_database_that_nobody_uses_is_measured_no_more() -> None:
    client: Any = None
    metrics = Metrics()
    metrics.databases_failing.labels("old").set(99)
    Operator(CONFIG, client, metrics).refresh()
    assert b'database="old"' not in metrics.render()


class Secrets:
    """One Secret `db`, with a password that is no longer right until it is changed; counts its readers."""

    def __init__(self) -> None:
        self.reads, self.url, self.version = 0, "postgresql://u:old@h/d", 1

    async def find(self, kind: k.Kind, namespace: str, name: str) -> Manifest:
        self.reads += 1
        data = {"url": base64.b64encode(self.url.encode()).decode()}
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(self.version)}
        return {"metadata": metadata, "data": data}


def refused() -> UnavailableError:
    """Return how a database answers to a password that is no longer right."""
    error = UnavailableError(Code.DATABASE_UNAVAILABLE, reason="password authentication failed")
    error.__cause__ = InvalidPasswordError("password authentication failed")
    return error


def taken(operator: Operator) -> list[Key]:
    found: list[Key] = []
    while (key := operator._queue.take_nowait()) is not None:
        found.append(key)
        operator._queue.done(key)
    return found


@pytest.mark.anyio
async def test_a_login_that_is_refused_has_the_secret_read_again_once_and_wakes_all_that_name_it() -> None:
    """By one of them, TaskQueue or TaskSchedule, and not at each failed look; all others learn of what it finds."""
    client: Any = Secrets()
    operator, clock = Operator(CONFIG, client, Metrics()), FakeClock()
    facts, keys = (
        operator._facts,
        [Key.queue("app", "emails"), Key.queue("app", "mails"), Key(k.TASK_SCHEDULE, "app", "nightly")],
    )
    facts.secrets._clock = clock
    for key in keys[:2]:
        facts.cache.put(k.TASK_QUEUE, queue(key.name))
    spec = {**SPEC, "kind": "report.build", "cron": "0 3 * * *"}
    facts.cache.put(k.TASK_SCHEDULE, {**queue("nightly"), "kind": "TaskSchedule", "spec": spec})

    async def opener(_: str) -> Any:
        raise refused()

    link = DatabaseLink("db", lambda _: 0.0, opener=opener, refused=operator._login_refused)
    for key in reversed(keys):
        link.use(key, client.url)
    await facts.secrets.facts("app", ["db"], {"db"})
    await link.look()
    assert taken(operator) == []  # 刚读过，再读也一样
    clock.advance(c.KUBE_SECRET_MISSING_S)
    await link.look()
    await link.look()
    assert taken(operator) == [keys[2]]  # 一个去读就够，TaskSchedule 也行
    client.url, client.version = "postgresql://u:new@h/d", 2
    await facts.secrets.facts("app", ["db"], {"db"})
    assert client.reads == 2
    assert facts.secrets.value("app", "db", "url") == client.url
    assert set(taken(operator)) == set(keys)
    await link.look()
    assert taken(operator) == []


@pytest.mark.anyio
async def test_a_url_that_is_no_good_is_read_again_soon() -> None:
    client: Any = Secrets()
    client.url = "mysql://h/d"
    operator, clock, key = Operator(CONFIG, client, Metrics()), FakeClock(), Key.queue("app", "emails")
    facts = operator._facts
    facts.secrets._clock = clock
    facts.cache.put(k.TASK_QUEUE, queue("emails"))
    parsed = facts.parsed(key)
    assert parsed is not None
    assert (await facts.connect(key, parsed, ["db"])).error
    for _ in range(2):
        clock.advance(c.KUBE_SECRET_MISSING_S)
        await facts.connect(key, parsed, ["db"])
    assert client.reads == 3  # 像缺失的一样，每十秒再读
    reference = {"databaseSecretRef": {"name": "db", "key": "dsn"}, "brokerSecretRef": {"name": "db"}}
    parsed = parse_queue(queue("emails", connection=reference))
    for _ in range(2):
        clock.advance(c.KUBE_SECRET_MISSING_S)
        await facts.connect(key, parsed, ["db"])
    assert client.reads == 5
