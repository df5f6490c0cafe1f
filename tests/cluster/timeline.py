"""What Kubernetes saw, to the millisecond: the objects of a TaskQueue are watched, and every change of their numbers is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp

from taskmill.kube import names
from tests.cluster.kubelet.api import ApiError, Json
from tests.cluster.kubelet.objects import condition
from tests.cluster.operator_support import QueueSpace

PAUSE_S = 0.2  # 一次 watch 断了之后


@dataclass(slots=True)
class Life:
    """A pod, in seconds of time.time(): made, Ready for the first time, told to end, gone."""

    name: str
    made: float
    ready: float | None = None
    ending: float | None = None
    gone: float | None = None


@dataclass(slots=True)
class Timeline:
    """`marks` has when things happened first; `replicas` every number that the Deployment was told."""

    marks: dict[str, float] = field(default_factory=dict[str, float])
    pods: dict[str, Life] = field(default_factory=dict[str, Life])
    replicas: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def pod_seconds(self, until: float) -> float:
        """Return how long all pods existed, those that end included."""
        return sum((life.gone or until) - life.made for life in self.pods.values())

    def counts(self) -> list[tuple[float, int]]:
        """Return how many pods there were after each change."""
        changes = [(life.made, 1) for life in self.pods.values()]
        changes += [(life.gone, -1) for life in self.pods.values() if life.gone is not None]
        total, found = 0, list[tuple[float, int]]()
        for at, change in sorted(changes):
            total += change
            found.append((at, total))
        return found

    def fewest_ready(self, wanted: int) -> int:
        """Return the smallest number of pods that were ready and not told to end, once `wanted` had been ready."""
        lives = [life for life in self.pods.values() if life.ready is not None]
        changes = [(life.ready or 0.0, 1) for life in lives]
        changes += [(life.ending or life.gone or 0.0, -1) for life in lives if life.ending or life.gone]
        total, counts = 0, list[int]()
        for _, change in sorted(changes):
            total += change
            counts.append(total)
        return min(counts[wanted - 1 :])

    def actions(self) -> tuple[int, int]:
        """Return how often the Deployment was told more, and less."""
        numbers = [0, *(number for _, number in self.replicas)]
        steps = [after - before for before, after in pairwise(numbers)]
        return sum(step > 0 for step in steps), sum(step < 0 for step in steps)

    def mark(self, name: str, at: float | None = None) -> None:
        """Note the first time of something."""
        self.marks.setdefault(name, time.time() if at is None else at)

    def on_job(self, change: str, job: Json) -> None:
        """A change of a migration Job; only the first one of a bundle, phase expand, gates the workers."""
        del change
        self.mark("job")
        if condition(job, "Complete").get("status") == "True":
            self.mark("job_done")

    def on_deployment(self, change: str, deployment: Json) -> None:
        """A change of the Deployment."""
        del change
        self.mark("deployment")
        number = int(deployment["spec"].get("replicas", 1))
        if not self.replicas or self.replicas[-1][1] != number:
            self.replicas.append((time.time(), number))
        if number > 0:
            self.mark("scaled")

    def on_pod(self, change: str, pod: Json) -> None:
        """A change of a worker's pod."""
        at, meta = time.time(), pod["metadata"]
        life = self.pods.setdefault(meta["uid"], Life(meta["name"], at))
        self.mark("pod")
        if life.ready is None and condition(pod, "Ready").get("status") == "True":
            life.ready = at
            self.mark("pod_ready")
        if life.ending is None and meta.get("deletionTimestamp"):
            life.ending = at
        if change == "DELETED":
            life.gone = at


@asynccontextmanager
async def watched(space: QueueSpace, queue: str) -> AsyncIterator[Timeline]:
    """Watch a namespace while the block runs."""
    timeline = Timeline()
    tasks = [
        asyncio.create_task(_watch(space, kind, selector, seen))
        for kind, selector, seen in (
            ("Job", "", timeline.on_job),
            ("Deployment", "", timeline.on_deployment),
            ("Pod", names.selector_text(queue), timeline.on_pod),
        )
    ]
    try:
        yield timeline
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(space: QueueSpace, kind: str, selector: str, seen: Callable[[str, Json], None]) -> None:
    """没有 resourceVersion：先给出现状，断了就从头再看。"""
    while True:
        with suppress(ApiError, aiohttp.ClientError, TimeoutError):
            async for event in space.api.watch(space.path(kind), labelSelector=selector):
                if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
                    seen(event["type"], event["object"])
        await asyncio.sleep(PAUSE_S)


def since(begin: float, points: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return points in seconds since `begin`."""
    return [(round(at - begin, 1), number) for at, number in points]
