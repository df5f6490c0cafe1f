"""The terms of the scaling formula: each returns how many slots it asks for. Numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from taskmill import constants as c
from taskmill.kube import erlang


class Term(StrEnum):
    """The part of the formula that asked for the most."""

    IDLE = "idle"
    WARM = "warm"
    LOAD = "load"
    BACKLOG = "backlog"
    TIMERS = "timers"
    FLOOR = "floor"
    STABILIZATION = "stabilization"
    FALLBACK = "fallback"
    HOLD = "hold"


OPTIONAL = frozenset({Term.LOAD, Term.BACKLOG, Term.TIMERS, Term.FLOOR})  # 模拟器可以逐个拿掉


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What there is to do and to do it with; counts of tasks and slots, times in seconds."""

    ready: int
    running: int  # 不含正在离开的 Pod 上的
    due_soon: int
    oldest_s: float
    arrivals: float
    service_s: float
    latency_s: float
    late: float
    utilization: float
    slots: int
    starting: int
    boot_s: float
    starting_s: float  # 启动中的 Pod 还要多久才接活
    limit: int

    @property
    def offered(self) -> float:
        """Slots that are busy on average when every task starts at once."""
        return self.arrivals * self.service_s


def load(work: Work) -> float:
    """Return the slots that carry what arrives at the wanted utilisation."""
    return work.offered / work.utilization


def floor(work: Work) -> float:
    """Return the slots with which arrivals at random start in time, by Erlang C."""
    return erlang.slots_for(work.offered, work.latency_s, work.service_s, work.late, max(1, work.limit))


def backlog(work: Work) -> float:
    """Return the slots with which all that is ready starts before the oldest is late.

    Until the deadline (or until a new pod can be there, if that is later) the slots at hand start what is ready, each
    again after `service_s`. Only what they leave over is worth new slots, which have the time after their boot.
    """
    deadline = work.latency_s - work.oldest_s
    at_hand = work.slots - work.running + work.slots * max(deadline, work.boot_s) / work.service_s
    on_the_way = work.starting * (1 + max(c.SCALER_TICK_S, deadline - work.starting_s) / work.service_s)
    short = work.ready - at_hand - on_the_way
    if short > 0:
        each = 1 + max(c.SCALER_TICK_S, deadline - work.boot_s) / work.service_s
        return work.slots + work.starting + short / each
    turns = work.service_s / (work.service_s + max(c.SCALER_TICK_S, deadline))
    return min(work.slots + work.starting, (work.ready + work.running) * turns)


def timers(work: Work) -> float:
    """Return the slots with which what will be due by the time a new pod is there starts in time."""
    if not work.due_soon:
        return 0.0
    turns = work.service_s / (work.service_s + work.latency_s)
    return (work.ready + work.running + work.due_soon) * turns


TERMS = {Term.LOAD: load, Term.BACKLOG: backlog, Term.TIMERS: timers, Term.FLOOR: floor}
