"""Erlang C: how probable it is that a task must wait when all slots are busy."""

from __future__ import annotations

import math


def waits_longer(slots: int, offered: float, wait_s: float, service_s: float) -> float:
    """Return the probability that a task waits longer than `wait_s`; 1 when the slots cannot carry the load.

    M/M/c: arrivals at random, exponential run times of mean `service_s`, `offered` = arrival rate × `service_s`.
    """
    if slots <= offered:
        return 1.0
    blocked = 1.0  # Erlang B，按槽数递推，数值稳定
    for count in range(1, slots + 1):
        blocked = offered * blocked / (count + offered * blocked)
    busy = blocked / (1 - offered / slots * (1 - blocked))
    return busy * math.exp(-(slots - offered) * wait_s / service_s)


def slots_for(offered: float, wait_s: float, service_s: float, late: float, limit: int) -> int:
    """Return the fewest slots, at most `limit`, with which no more than the share `late` waits longer than `wait_s`."""
    low, high = min(limit, math.floor(offered) + 1), limit
    while low < high:
        middle = (low + high) // 2
        if waits_longer(middle, offered, wait_s, service_s) <= late:
            high = middle
        else:
            low = middle + 1
    return low
