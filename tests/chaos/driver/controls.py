"""What the clients ask for with limits, unique keys, sequences and parents."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

LIMITED = "limited"
KEYS, UNIQUE_KEYS, SEQUENCES = 8, 6, 8
MOST, LEAST, MOST_PER_KEY = 6, 3, 1  # 上限在运行中改来改去；审计只认最高的
STOPS = "select task_id::text from taskmill.sequence_stops order by at limit 20"
LIMITS = f"insert into taskmill.queues (name, max_running, max_running_per_key) values ('{LIMITED}', {MOST}, {MOST_PER_KEY})"
KINDS = {"chaos.short": 20, "chaos.thread": 6, "chaos.flaky": 2, "chaos.long": 1}


def limited(rng: random.Random) -> dict[str, Any]:
    """Return a task of the queue with limits, with one of a few keys."""
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    args = {} if kind == "chaos.flaky" else {"ms": rng.randrange(1, 2000 if kind == "chaos.long" else 200)}
    return {"kind": kind, "queue": LIMITED, "args": args, "concurrency_key": f"key-{rng.randrange(KEYS)}"}


def unique(rng: random.Random) -> dict[str, Any]:
    """Return a task with one of a few unique keys; of two that are live the second is a duplicate."""
    rule = {"key": f"unique-{rng.randrange(UNIQUE_KEYS)}", "on_duplicate": rng.choice(["return", "replace", "refuse"])}
    return {"kind": "chaos.short", "args": {"ms": rng.randrange(1, 1500)}, "unique": rule}


def sequenced(rng: random.Random) -> dict[str, Any]:
    """Return a task of one of a few sequences; some of them wait for a second try, or fail, and stop it if they say so."""
    (kind,) = rng.choices(["chaos.short", "chaos.flaky", "chaos.snoozes", "chaos.discards"], [20, 2, 1, 1])
    args = {"ms": rng.randrange(1, 150)} if kind == "chaos.short" else {}
    order = {"sequence_key": f"sequence-{rng.randrange(SEQUENCES)}", "sequence_on_failure": rng.choice(["continue", "stop"])}
    return {"kind": kind, "args": args, **order}


def dependent(rng: random.Random, parents: Sequence[str]) -> dict[str, Any]:
    """Return a task that waits for up to three of the others, however they end."""
    chosen = rng.sample(parents, min(len(parents), rng.randrange(1, 4)))
    order = {"depends_on": chosen, "on_parent_failure": "run"} if chosen else {}
    return {"kind": "chaos.short", "args": {"ms": rng.randrange(1, 100)}, **order}


def other_limits(rng: random.Random) -> dict[str, Any]:
    """Return limits to set instead."""
    return {"max_running": rng.randrange(LEAST, MOST + 1), "max_running_per_key": MOST_PER_KEY}
