"""When a status may wait for the next round."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskmill.kube.loop.status import can_wait
from taskmill.kube.state import Apply, Event, Manifest, Plan, Scale

CHILDREN = Plan(actions=(Apply({"kind": "ServiceAccount"}, "w"), Apply({"kind": "Deployment"}, "w")), status={"replicas": 0})


def observed(generation: int | None) -> Manifest:
    return {"metadata": {"generation": 3}, "status": {} if generation is None else {"observedGeneration": generation}}


@pytest.mark.parametrize(
    ("made", "generation", "waits"),
    [
        (CHILDREN, 3, True),
        (CHILDREN, 2, False),
        (CHILDREN, None, False),
        (replace(CHILDREN, actions=()), 3, False),
        (replace(CHILDREN, actions=(*CHILDREN.actions, Scale("d", 1, "w"))), 3, False),
        (replace(CHILDREN, events=(Event("Normal", "RolloutStarted", "m"),)), 3, False),
        (replace(CHILDREN, interrupted=("uid",)), 3, False),
    ],
    ids=["children", "spec changed", "never seen", "nothing done", "scaled", "something to tell", "something to count"],
)
def test_a_status_waits_only_for_the_echo_of_children(made: Plan, generation: int | None, waits: bool) -> None:
    assert can_wait(observed(generation), made) is waits
