"""Erlang C: how probable it is that a task must wait when all slots are busy."""

from __future__ import annotations

import math


def waits_longer(slots: int, offered: float, wait_s: float, service_s: float) -> float:
    """Return the probability that a task waits longer than `wait_s`; 1 when the slots cannot carry the load.

    M/M/c: arrivals at random, exponential run times of mean `service_s`, `offered` = arrival rate × `service_s`.
    """
    blocked = 1.0
    for count in range(1, slots + 1):
        blocked = _blocked(blocked, count, offered)
    return _waits(blocked, slots, offered, wait_s, service_s)


def slots_for(offered: float, wait_s: float, service_s: float, late: float, limit: int) -> int:
    """Return the fewest slots, at most `limit`, with which no more than the share `late` waits longer than `wait_s`.

    Takes about as many steps as it returns slots.
    """
    blocked = 1.0
    for count in range(1, limit):
        blocked = _blocked(blocked, count, offered)
        if count > offered and _waits(blocked, count, offered, wait_s, service_s) <= late:
            return count
    return limit


def _blocked(before: float, count: int, offered: float) -> float:
    """Erlang B 按槽数递推，数值稳定。"""
    return offered * before / (count + offered * before)


def _waits(blocked: float, slots: int, offered: float, wait_s: float, service_s: float) -> float:
    if slots <= offered:
        return 1.0
    busy = blocked / (1 - offered / slots * (1 - blocked))
    return busy * math.exp(-(slots - offered) * wait_s / service_s)
