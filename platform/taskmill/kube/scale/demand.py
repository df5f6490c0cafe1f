"""The terms of the scaling formula: each returns how many slots it asks for. Numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from taskmill import constants as c
from taskmill.kube import constants as kc
from taskmill.kube.scale import erlang


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
    service_known: bool  # 跑完的任务够多，可以指望槽位很快空出来
    latency_s: float
    late: float
    utilization: float
    slots: int
    starting: int
    boot_s: float
    starting_s: float  # 启动中的 Pod 还要多久才接活
    limit: int
    tick_s: float = c.OPERATOR_TICK_S  # 多久看一次：缺的 Pod 最早下一拍才发现

    @property
    def offered(self) -> float:
        """Slots that are busy on average when every task starts at once."""
        return self.arrivals * self.service_s

    @property
    def lead_s(self) -> float:
        """How long it takes until a pod that is missed now takes work."""
        return self.boot_s + self.tick_s


def load(work: Work) -> float:
    """Return the slots that carry what arrives at the wanted utilisation.

    Never more than what is there and what may still come before a new pod could: a slot beyond that has nothing to do.
    """
    return min(work.offered / work.utilization, work.ready + work.running + work.arrivals * work.lead_s)


def floor(work: Work) -> float:
    """Return the slots with which arrivals at random start in time, by Erlang C.

    Only where a missing pod could not be there in time; else the backlog term orders it when it is missed. A large
    load needs no look: its random swings are small against the room that the utilisation leaves.
    """
    if work.latency_s > work.lead_s or work.offered > kc.ERLANG_SLOTS_MAX:
        return 0.0
    return erlang.slots_for(work.offered, work.latency_s, work.service_s, work.late, max(1, work.limit))


def backlog(work: Work) -> float:
    """Return the slots with which all that is ready starts before the oldest is late.

    Until the deadline (or until a new pod can be there, if that is later) the slots at hand start what is ready, each
    again after `service_s`. Only what they leave over is worth new slots, which have the time after their boot.
    """
    deadline = work.latency_s - work.oldest_s

    def starts(seconds: float) -> float:
        """一个空槽在这段时间里能开始多少个任务。"""
        return 1 + max(work.tick_s, seconds) / work.service_s if work.service_known else 1

    at_hand = work.slots * starts(max(deadline, work.boot_s)) - work.running
    short = work.ready - at_hand - work.starting * starts(deadline - work.starting_s)
    if short > 0:
        return work.slots + work.starting + short / starts(deadline - work.boot_s)
    return min(work.slots + work.starting, (work.ready + work.running) / starts(deadline))


def timers(work: Work) -> float:
    """Return the slots with which what will be due by the time a new pod is there starts in time."""
    if not work.due_soon:
        return 0.0
    turns = work.service_s / (work.service_s + work.latency_s)
    return (work.ready + work.running + work.due_soon) * turns


TERMS = {Term.LOAD: load, Term.BACKLOG: backlog, Term.TIMERS: timers, Term.FLOOR: floor}
