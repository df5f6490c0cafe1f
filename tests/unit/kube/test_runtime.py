"""What becomes of the work while the lease is overdue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskmill.kube.apiserver.keys import Key
from taskmill.kube.metrics import Metrics
from taskmill.kube.runtime import Operator, OperatorConfig

KEY = Key.queue("ns", "emails")
CONFIG = OperatorConfig(
    namespaces=("ns",), home="ns", identity="op-0", default_image="", lease_name="op", health_host="127.0.0.1"
)


@pytest.mark.anyio
@pytest.mark.parametrize("leading", [True, False])
async def test_a_leader_whose_renewal_is_late_keeps_its_keys(*, leading: bool) -> None:
    client: Any = None
    operator = Operator(CONFIG, client, Metrics())
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    operator._leading, operator._connected = (done if leading else None), True  # type: ignore[assignment]
    operator._queue.add(KEY)
    worker = asyncio.create_task(operator._work())
    while not operator._queue.idle:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    # 备用副本不用记：它当上主控时所有键都会再来一遍
    assert (operator._queue.ripen() is not None) is leading


@pytest.mark.anyio
async def test_a_worker_outlives_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = None
    operator = Operator(CONFIG, client, Metrics())
    operator._connected = True
    monkeypatch.setattr(operator, "_token", lambda: 1)
    seen: list[Key] = []

    async def run(key: Key) -> None:
        seen.append(key)
        raise LookupError

    monkeypatch.setattr(operator._queues, "run", run)
    other = Key.queue("ns", "other")
    operator._queue.add(KEY)
    operator._queue.add(other)
    worker = asyncio.create_task(operator._work())
    while not operator._queue.idle:
        await asyncio.sleep(0)
    assert seen == [KEY, other]
    assert operator._queue.ripen() is not None  # 都约好了再来
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


@pytest.mark.anyio
async def test_who_leads_again_gets_to_know_everybody_anew() -> None:
    client: Any = None
    operator = Operator(CONFIG, client, Metrics())
    operator._connected = True
    operator._lead(False)
    assert not operator._connected


@pytest.mark.anyio
async def test_a_database_that_nobody_uses_is_measured_no_more() -> None:
    client: Any = None
    metrics = Metrics()
    metrics.databases_failing.labels("old").set(99)
    Operator(CONFIG, client, metrics)._refresh()
    assert b'database="old"' not in metrics.render()
