"""What a change of a queue's settings would do to its backlog: how many tasks wait longer, how many less, about how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from taskmill.clock import Timestamp, rfc3339
from taskmill.controls.rate import Rate
from taskmill.models.task_queue import KEY_LIMITS, LIMITS
from taskmill.services import constants as c
from taskmill.stores.database import Connection
from taskmill.stores.queues import preview as store
from taskmill.stores.queues.preview import Effect
from taskmill.words import Words

NOTHING_HELD = Words("没有要等上限的", "nothing would wait for a limit")
BY_RATE = Words("按 {name} 每秒 {per_s:g} 个计", "by {name}, {per_s:g} starts a second")
BY_SLOTS = Words(
    "按 {name} 与过去 {minutes} 分钟的平均执行时长 {mean:.3g} 秒计",
    "by {name} and the mean run time of the last {minutes} minutes, {mean:.3g} s",
)
UNKNOWN = Words(
    "无法估计：过去 {minutes} 分钟里这个队列没有结束过任务",
    "cannot be estimated: no task of the queue ended in the last {minutes} minutes",
)


class HeldKey(msgspec.Struct, frozen=True, kw_only=True):
    """A concurrency key and how many of its tasks its limits would hold."""

    key: str
    held: int


class QueuePreview(msgspec.Struct, frozen=True, kw_only=True):
    """What the change would do to the backlog as it stands; nothing was written.

    `waiting`: available tasks; `held_now` of them limits hold; `held` they would; `released` are held and would no longer be.
    `keys`: those of whose tasks limits of keys would hold the most, of `keys_total`. `full`: a submit would get QUEUE_FULL.
    `until`: about when the last one that would be held starts, if nothing is submitted meanwhile; `basis` says how that was estimated.
    """

    waiting: int
    held_now: int
    held: int
    released: int
    keys: list[HeldKey]
    keys_total: int
    full: bool
    until: Timestamp | None
    basis: Words


async def preview(connection: Connection, queue: str, settings: Mapping[str, Any]) -> QueuePreview:
    """Count what `settings`, all of a queue by name, would do, in a transaction that writes nothing."""
    limits = {name: settings[name] for name in LIMITS}
    found = await store.effect(connection, queue, limits, keys=c.PREVIEW_KEYS, minutes=c.PREVIEW_MINUTES)
    seconds, basis = _estimate(found, limits)
    most = settings["max_backlog"]
    return QueuePreview(
        waiting=found.waiting,
        held_now=found.held_now,
        held=found.held,
        released=found.released,
        keys=[HeldKey(key=key, held=held) for key, held in found.keys],
        keys_total=found.keys_total,
        full=most is not None and found.waiting >= most,
        until=None if seconds is None else rfc3339(found.at + timedelta(seconds=min(seconds, c.PREVIEW_MAX_S))),
        basis=basis,
    )


def _estimate(found: Effect, limits: Mapping[str, Any]) -> tuple[float | None, Words]:
    """最慢的那个上限决定：队列的管全部被挡的，键的管被挡得最多的那个键。"""
    if not found.held:
        return 0.0, NOTHING_HELD
    worst = max((held for _, held in found.keys), default=0)
    takes: list[tuple[float, Words]] = []
    for name, limit in limits.items():
        held = worst if name in KEY_LIMITS else found.held
        if limit is None or not held:
            continue
        if isinstance(limit, Rate):
            takes.append((held / limit.per_s, BY_RATE(name=name, per_s=limit.per_s)))
        elif found.mean_run_s is None:
            return None, UNKNOWN(minutes=c.PREVIEW_MINUTES)
        else:
            words = BY_SLOTS(name=name, minutes=c.PREVIEW_MINUTES, mean=found.mean_run_s)
            takes.append((held * found.mean_run_s / limit, words))
    return max(takes, key=lambda each: each[0])
