"""Whatever the order of events: scaling in never takes a pod that runs tasks, and in the end there is what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from taskmill.kube.plan.pod_workers import PodWorker
from taskmill.kube.plan.rollout import Rollout
from taskmill.kube.state import Action, Scale
from tests.unit.kube.replicas import World


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_busy_pod_dies_and_the_number_is_reached(seed: int) -> None:
    world = World(Random(seed))  # noqa: S311
    world.run(400)
    assert world.interrupted == 0
    world.settle()
    serving = [each for each in world.pods if not each.draining]
    assert (len(world.pods), len(serving), world.interrupted) == (world.desired, world.desired, 0)


def naive(_: Sequence[PodWorker], rollout: Rollout, desired: int) -> Sequence[Action]:
    return (Scale("d", desired, "naive"),) if desired != rollout.replicas else ()


def test_the_model_does_kill_busy_pods_when_the_number_is_just_lowered() -> None:
    interrupted = 0
    for seed in range(20):
        world = World(Random(seed), stepper=naive)  # noqa: S311
        world.run(400)
        interrupted += world.interrupted
    assert interrupted > 0


def test_pods_do_go_and_come_in_the_model() -> None:
    worlds = [World(Random(seed)) for seed in range(20)]  # noqa: S311
    for world in worlds:
        world.run(400)
    assert sum(world.killed for world in worlds) > 20
    assert sum(world.number for world in worlds) > 100
