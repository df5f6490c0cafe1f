"""The operator as a whole, as far as no cluster is needed."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.kube.metrics import Metrics
from taskmill.kube.runtime import Operator, OperatorConfig

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
