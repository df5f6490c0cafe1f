"""What the health endpoint answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskmill.engine import constants as c
from taskmill.engine.health import HealthApp, Vitals

NOW = 1_000.0
WELL = Vitals(
    turn_at=NOW, tried_at=NOW, renewed_at=NOW - 3, ready=True, draining=False, cordoned=False, slots=10, running=2,
    claimed=7, settled=5, unsettled=0, paused=1,
)  # fmt: skip


@pytest.fixture
def at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmill.engine.health.time.monotonic", lambda: NOW)


@pytest.mark.parametrize(
    ("change", "path", "status"),
    [
        ({}, "/healthz", 200),
        ({"turn_at": NOW - c.WORKER_LIVE_S - 1}, "/healthz", 503),
        ({"tried_at": NOW - c.WORKER_LIVE_S - 1}, "/healthz", 503),
        ({"renewed_at": NOW - 10_000}, "/healthz", 200),  # 数据库不在：试过就算活着
        ({"renewed_at": None, "ready": False}, "/healthz", 200),
        ({}, "/readyz", 200),
        ({"running": 10, "unsettled": 99}, "/readyz", 200),
        ({"ready": False}, "/readyz", 503),
        ({}, "/", 404),
    ],
)
@pytest.mark.usefixtures("at_now")
def test_answers(change: dict[str, float], path: str, status: int) -> None:
    assert HealthApp(lambda: replace(WELL, **change)).answer(path)[0] == status  # type: ignore[arg-type]


def test_a_worker_that_starts_is_alive_and_not_ready() -> None:
    app = HealthApp()
    assert app.answer("/healthz") == (200, b"ok\n")
    assert app.answer("/readyz") == (503, b"not ready\n")
    assert app.answer("/metrics")[0] == 200


@pytest.mark.usefixtures("at_now")
def test_plugins_that_are_not_up_say_why_the_worker_is_not_ready() -> None:
    app = HealthApp()
    app.attend(lambda: replace(WELL, ready=False, wanting={"b": "is not installed", "a": "broken"}), dict)
    assert app.answer("/readyz") == (503, b"not ready; plugin a: broken; plugin b: is not installed\n")


@pytest.mark.usefixtures("at_now")
def test_metrics() -> None:
    status, body = HealthApp(lambda: WELL).answer("/metrics")
    lines = body.decode().splitlines()
    assert status == 200
    for line in (
        "taskmill_worker_running 2.0", "taskmill_worker_slots 10.0", "taskmill_worker_claimed_total 7.0",
        "taskmill_worker_settled_total 5.0", "taskmill_worker_lease_age_seconds 3.0", "taskmill_worker_paused_queues 1.0",
        "taskmill_worker_ready 1.0", "taskmill_worker_draining 0.0",
    ):  # fmt: skip
        assert line in lines
    assert any(line.startswith("taskmill_worker_info{") for line in lines)
    never = HealthApp(lambda: replace(WELL, renewed_at=None)).answer("/metrics")[1].decode()
    assert "taskmill_worker_lease_age_seconds " not in never.replace(
        "# HELP taskmill_worker_lease_age_seconds ", ""
    ).replace("# TYPE taskmill_worker_lease_age_seconds ", "")
