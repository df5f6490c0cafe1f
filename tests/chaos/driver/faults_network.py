"""Faults of the network between roles and servers, made by the gates."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from tests.chaos.driver.faults import fault
from tests.chaos.driver.schedule import ROLES
from tests.chaos.driver.stage import Stage


def _some(stage: Stage, rng: random.Random, server: str) -> tuple[list[str], str]:
    """全部角色，或只是其中一个。"""
    role = "" if rng.random() < 0.5 else rng.choice(ROLES)
    return stage.gates.names(server, role), role or "all roles"


@fault("half-open connections to PostgreSQL", "network", 2, 4)
async def half_open_postgres(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Those that exist are dead without FIN or RST, new ones work: a node or an entry of a NAT is gone."""
    names, who = _some(stage, rng, "postgres")
    stage.gates.half_open(names)
    yield who


@fault("half-open connections to Valkey", "network", 2, 4)
async def half_open_valkey(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The same for Valkey."""
    names, who = _some(stage, rng, "valkey")
    stage.gates.half_open(names)
    yield who


@fault("PostgreSQL a black hole", "network", 15, 25, blocks=True)
async def hole_postgres(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Everything sent is lost, new connections included."""
    names, who = _some(stage, rng, "postgres")
    stage.gates.hole(names)
    try:
        yield who
    finally:
        stage.gates.open(names)


@fault("Valkey a black hole", "network", 10, 20)
async def hole_valkey(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The same for Valkey."""
    names, who = _some(stage, rng, "valkey")
    stage.gates.hole(names)
    try:
        yield who
    finally:
        stage.gates.open(names)


@fault("network frozen, then delivered", "network", 8, 15, blocks=True)
async def frozen(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Nothing moves, nothing is lost."""
    (postgres, who), valkey = _some(stage, rng, "postgres"), stage.gates.names("valkey")
    names = postgres if who != "all roles" else [*postgres, *valkey]
    stage.gates.freeze(names)
    try:
        yield who
    finally:
        stage.gates.open(names)


@fault("network slow", "network", 8, 15)
async def slow(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Each piece comes 50 to 300 ms late."""
    names = [*stage.gates.names("postgres"), *stage.gates.names("valkey")]
    seconds = rng.uniform(0.05, 0.3)
    stage.gates.delay(names, seconds)
    try:
        yield f"{seconds * 1000:.0f} ms"
    finally:
        stage.gates.open(names)


@fault("connections reset again and again", "network", 4, 8)
async def reset(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """RST for everybody, five times."""
    names = [*stage.gates.names("postgres"), *stage.gates.names("valkey")]
    for _ in range(5):
        stage.gates.reset(names)
        await asyncio.sleep(rng.uniform(0.1, 0.5))
    yield ""


@fault("answers to COMMIT lost", "network", 4, 8)
async def lost_answers(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The server has committed, the client never hears of it."""
    names = stage.gates.names("postgres")
    stage.gates.lose(names, rng.randrange(2, 6))
    try:
        yield ""
    finally:
        stage.gates.open(names)
