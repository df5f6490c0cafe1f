"""Why a Job has no pod: asked of its events, not too often, and never a reason to fail a round."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube.apiserver.failures import ForbiddenError, KubeError, TransientError
from taskmill.kube.observe.refusals import Refusals
from taskmill.kube.state import Manifest
from tests.unit.kube.objects import NOW, at

pytestmark = pytest.mark.anyio


class Events:
    """The events of a namespace, and what was asked for."""

    def __init__(self, *events: Manifest) -> None:
        self.events_, self.asked = list(events), 0
        self.error: KubeError | None = None

    async def events(self, namespace: str, about: str, reason: str) -> list[Manifest]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return [each for each in self.events_ if each["regarding"]["name"] == about and each["reason"] == reason]


def event(note: str, *, uid: str = "u1", seconds: float = 0.0) -> Manifest:
    return {
        "reason": "FailedCreate", "note": note, "regarding": {"name": "m", "uid": uid}, "deprecatedLastTimestamp": at(seconds),
    }  # fmt: skip


def job(started: float | None = -60, name: str = "m", uid: str = "u1", **status: Any) -> Manifest:
    begun = {} if started is None else {"startTime": at(started)}
    return {"metadata": {"name": name, "namespace": "app", "uid": uid}, "status": {**begun, **status}}


def pod() -> Manifest:
    return {"metadata": {"name": "m-x", "namespace": "app", "labels": {"batch.kubernetes.io/job-name": "m"}}}


async def test_the_newest_event_of_this_very_job_is_told() -> None:
    reader = Events(event("old", seconds=-50), event("exceeded quota", seconds=-5), event("another job's", uid="u0"))
    assert await Refusals(reader, FakeClock(NOW)).of([job()], []) == {"m": "exceeded quota"}


@pytest.mark.parametrize(
    ("made", "pods"),
    [
        (job(), [pod()]),
        (job(None), []),
        (job(-c.JOB_POD_S + 1), []),
        (job(conditions=[{"type": "Complete", "status": "True"}]), []),
    ],
    ids=["has a pod", "suspended", "has only just begun", "is over"],
)
async def test_nobody_is_asked_about_a_job_that(made: Manifest, pods: list[Manifest]) -> None:
    reader = Events(event("exceeded quota"))
    assert await Refusals(reader, FakeClock(NOW)).of([made], pods) == {}
    assert reader.asked == 0


async def test_a_job_is_asked_about_once_in_a_while() -> None:
    reader, clock = Events(), FakeClock(NOW)
    refusals = Refusals(reader, clock)
    assert await refusals.of([job()], []) == {}
    reader.events_.append(event("exceeded quota"))
    assert await refusals.of([job()], []) == {}
    clock.advance(c.JOB_LOOK_S)
    assert await refusals.of([job()], []) == {"m": "exceeded quota"}
    assert reader.asked == 2


async def test_without_the_right_to_read_events_nothing_is_said() -> None:
    reader = Events(event("exceeded quota"))
    reader.error = ForbiddenError("list", "events app/", 403, "Forbidden", "no")
    assert await Refusals(reader, FakeClock(NOW)).of([job()], []) == {}


@pytest.mark.parametrize("error", [ForbiddenError, TransientError])
async def test_what_is_known_outlives_a_hiccup(error: type[KubeError]) -> None:
    reader, clock = Events(event("exceeded quota")), FakeClock(NOW)
    refusals = Refusals(reader, clock)
    assert await refusals.of([job()], []) == {"m": "exceeded quota"}
    clock.advance(c.JOB_LOOK_S)
    reader.error = error("list", "events app/", 503, "x", "busy")
    assert await refusals.of([job()], []) == {"m": "exceeded quota"}
    assert await refusals.of([job()], []) == {"m": "exceeded quota"}
    assert reader.asked == 2  # 没听到的，也隔一会儿再问


async def test_other_jobs_make_nobody_forget_what_one_was_told() -> None:
    """A healthy Job beside it, and a queue on another database that has no Job at all."""
    reader = Events(event("exceeded quota"))
    refusals, fine = Refusals(reader, FakeClock(NOW)), job(name="other", uid="u2", conditions=[{"status": "True"}])
    assert await refusals.of([job(), fine], []) == {"m": "exceeded quota"}
    assert await refusals.of([], []) == {}
    assert await refusals.of([fine], []) == {}
    assert await refusals.of([job(), fine], []) == {"m": "exceeded quota"}
    assert reader.asked == 1
    refusals.keep_only({"u1"})
    assert refusals._known.keys() == {"u1"}
    assert await refusals.of([job(), fine], [pod()]) == {}
    assert not refusals._known  # 有了 Pod，从前的话不再算数
    await refusals.of([job()], [])
    refusals.keep_only(set())
    assert not refusals._known
