"""Clocks that are set: by an hour, forward or back, and right again in the end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from tests.chaos.driver.faults import fault
from tests.chaos.driver.stage import Stage

HOUR_S = 3_600


@fault("Valkey's clock jumps by an hour", "valkey", 4, 12, needs="clocks")
async def valkey_jumps(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Times of entries and how long they have been idle are no longer what they were."""
    seconds = rng.choice((-HOUR_S, HOUR_S))
    clocks = [clock for name, clock in stage.clocks.items() if name.startswith("valkey")]
    for clock in clocks:
        clock.jump(seconds)
    try:
        yield f"{seconds:+d} s"
    finally:
        for clock in clocks:
            clock.jump(0)


@fault("clocks of the roles jump", "role", 4, 12, needs="clocks")
async def roles_jump(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Each role is wrong by another amount, up to an hour."""
    for name in stage.roles:
        stage.clocks[name].jump(rng.randrange(-HOUR_S, HOUR_S))
    try:
        yield "all, each otherwise"
    finally:
        for name in stage.roles:
            stage.clocks[name].jump(0)
