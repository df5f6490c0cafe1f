"""What becomes of the work while the lease is overdue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskmill.kube.keys import Key
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
