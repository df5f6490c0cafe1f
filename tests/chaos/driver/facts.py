"""All that is known at the end of a run, as plain data: what the audit judges, and what its tests make up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.driver.clients import Answer
from tests.chaos.driver.cores import Meter
from tests.chaos.driver.roles import Life
from tests.chaos.driver.serving import Served


@dataclass(slots=True)
class Event:
    """A fault that happened. Times are monotonic; `blocks`: nobody could expect an answer meanwhile."""

    name: str
    family: str
    round: int
    begin: float
    end: float
    word: str = ""
    blocks: bool = False


@dataclass(slots=True)
class Stream:
    """One stream of tickets; `pending` is None without a consumer group."""

    key: str
    length: int
    pending: int | None


@dataclass(slots=True)
class Facts:
    """Rows are dictionaries by column; `shift` turns a time of PostgreSQL (seconds since 1970) into a monotonic one.

    `lines` are those of the journals; `calm_s` says how long it took until nothing was left to do, None if it never was.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)
    rollups: list[dict[str, Any]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    connections: int = 0
    connections_most: int = 0
    gauges: dict[str, dict[str, float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    served: list[tuple[Event | None, Served]] = field(default_factory=list)
    shift: float = 0.0
    meter: Meter = field(default_factory=lambda: Meter(0))  # 驱动程序自己
    start_s: float = 0.0
    calm_s: float | None = 0.0


@dataclass(slots=True)
class Breach:
    """A bar that does not hold; `at` is a monotonic time near the cause, `ids` are the tasks concerned."""

    bar: str
    text: str
    ids: tuple[str, ...] = ()
    at: float | None = None
