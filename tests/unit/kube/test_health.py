"""The operator's probes and metrics: answered from a thread of their own, also while the loop is busy."""

from __future__ import annotations

import socket
import time

import httpx2
import pytest

from taskmill.kube.health import Health
from taskmill.kube.metrics import Metrics
from taskmill.serving.endpoint import listening


def health(live: str = "", ready: str = "") -> Health:
    metrics = Metrics()
    return Health(metrics, live=lambda: live, ready=lambda: ready, refresh=lambda: metrics.depth.set(7))


@pytest.mark.parametrize(
    ("wrong", "path", "answer"),
    [
        ({}, "/healthz", (200, b"ok\n")),
        ({"live": "late"}, "/healthz", (503, b"late\n")),
        ({"live": "late"}, "/readyz", (200, b"ok\n")),
        ({"ready": "no caches"}, "/readyz", (503, b"no caches\n")),
        ({}, "/else", (404, b"/healthz /readyz /metrics\n")),
    ],
)
def test_a_probe_says_what_is_wrong(wrong: dict[str, str], path: str, answer: tuple[int, bytes]) -> None:
    assert health(**wrong).answer(path) == answer


def test_gauges_are_brought_up_to_date_before_they_are_read() -> None:
    status, body = health().answer("/metrics")
    assert status == 200
    assert b"taskmill_operator_queue_depth 7.0" in body


@pytest.mark.anyio
async def test_a_loop_that_is_stuck_is_told_of() -> None:
    """It used to share the loop with all other work: whoever asked while that was busy heard nothing at all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    begun = time.monotonic()
    late = Health(Metrics(), live=lambda: "late" if time.monotonic() - begun > 0 else "", ready=str, refresh=lambda: None)
    async with listening(late, "127.0.0.1", port, "TASKMILL_OPERATOR_HEALTH_PORT"):
        answer = httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=10)  # 同步地问：这个循环此刻什么也不做
    assert (answer.status_code, answer.text) == (503, "late\n")
