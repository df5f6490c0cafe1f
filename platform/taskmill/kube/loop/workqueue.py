"""The queue of keys to reconcile: each key at most once, in turn, later, or after a growing pause.

A key that is added while it is worked on comes back once that is over, so two workers never hold the same key.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """First in, first out; `jitter` returns a factor for a pause, so that equal pauses spread."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, jitter: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._jitter = jitter or (lambda: random.uniform(0.8, 1.2))  # noqa: S311 - 抖动
        self._ready: OrderedDict[K, float] = OrderedDict()  # 键 → 何时就绪
        self._busy: set[K] = set()
        self._again: set[K] = set()  # 处理期间又来的键
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    @property
    def depth(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._ready)

    @property
    def oldest_s(self) -> float:
        """Return for how long the oldest ready key has waited."""
        return self._clock.monotonic() - next(iter(self._ready.values())) if self._ready else 0.0

    @property
    def idle(self) -> bool:
        """Say whether nothing waits and nothing is worked on; keys for later do not count."""
        return not self._ready and not self._busy

    def add(self, key: K) -> None:
        """Have the key worked on as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._busy:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._clock.monotonic()
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on in `seconds` at the latest; an earlier appointment stands."""
        due = self._clock.monotonic() + seconds
        if key in self._ready or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, key))
        self._wake.set()

    def retry(self, key: K, at_least_s: float = 0.0) -> float:
        """Have a key that failed worked on again after a pause that doubles each time; returns the pause."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(c.KUBE_RETRY_MAX_S, c.KUBE_RETRY_MIN_S * 2 ** min(failures, 20)) * self._jitter()
        pause = max(pause, at_least_s)
        self.add_after(key, pause)
        return pause

    def succeeded(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def forget(self, key: K) -> None:
        """Drop a key whose object is gone."""
        self._failures.pop(key, None)
        self._due.pop(key, None)
        self._ready.pop(key, None)
        self._again.discard(key)

    def ripen(self) -> float | None:
        """Move the keys whose time has come to the ready ones; returns the seconds until the next, None without."""
        now = self._clock.monotonic()
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # 已被更早的约定取代
            elif due <= now:
                heapq.heappop(self._heap)
                self.add(key)
            else:
                return due - now
        return None

    def take_nowait(self) -> K | None:
        """Return the next key and mark it as worked on, or None."""
        self.ripen()
        if not self._ready:
            return None
        key, _ = self._ready.popitem(last=False)
        self._busy.add(key)
        return key

    async def take(self) -> K:
        """Wait for the next key and mark it as worked on; give it back with `done`."""
        while True:
            key = self.take_nowait()
            if key is not None:
                return key
            self._wake.clear()
            try:
                async with asyncio.timeout(self.ripen()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Give a key back."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
