"""All connections of one listener: who has waited too long, and who makes room when there are too many.

One sweep over all of them takes the place of a timer for each request. Room is made by those that cost the least: first who
has not sent a whole header, the longest waiting first, then who is idle; whoever is being answered stays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskmill.log import get_logger
from taskmill.serving import constants as c
from taskmill.serving.limits import Limits, fit

if TYPE_CHECKING:
    from taskmill.serving.protocol import LimitedProtocol

log = get_logger(__name__)
Count = Callable[[str], None]


class Connections:
    """The connections of one listener, within `limits`. `count` hears the reason of each one that is refused or closed."""

    def __init__(self, limits: Limits, count: Count | None = None) -> None:
        self.limits = limits
        self.limit = fit(limits.connections)
        self.open: set[LimitedProtocol] = set()
        self.heads = 0
        self.beat = time.monotonic()
        self._count = count
        self._told: Counter[str] = Counter()
        self._tell_at = 0.0
        self._swept_at: float | None = None

    async def watch(self) -> None:
        """Sweep until cancelled."""
        if self.limit < self.limits.connections:
            log.warning("文件描述符不够，连接数上限已调低", limit=self.limit, wanted=self.limits.connections)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(c.HTTP_SWEEP_S)
            self.sweep(loop.time())

    def sweep(self, now: float) -> int:
        """End what is overdue at `now` (of the loop's clock), write one line of what was refused; returns how many ended."""
        self.beat = time.monotonic()
        elapsed = 0.0 if self._swept_at is None else now - self._swept_at
        self._swept_at = now
        ended = sum(connection.enforce(now, elapsed) for connection in list(self.open))
        self._tell(now)
        return ended

    def enter(self, connection: LimitedProtocol) -> bool:
        """Take a new connection in; False if there is no room and it must be refused."""
        self.open.add(connection)
        if len(self.open) <= self.limit:
            return True
        self._make_room(connection)
        return len(self.open) <= self.limit

    @property
    def crowded(self) -> bool:
        """Whether there is no descriptor to spare even for a refusal."""
        return len(self.open) > self.limit + c.HTTP_REFUSALS_MAX

    def leave(self, connection: LimitedProtocol) -> None:
        """Forget a connection that is over."""
        self.open.discard(connection)
        self.hold(connection, 0)

    def hold(self, connection: LimitedProtocol, size: int) -> None:
        """Note that a connection holds `size` bytes of headers, unfinished or not answered yet; if that is too much, the largest go."""
        self.heads += size - connection.held
        connection.held = size
        most = self.limits.heads_bytes
        if self.heads <= most:
            return
        for largest in sorted(self.open, key=lambda each: each.held, reverse=True):
            if self.heads <= most - most // c.HTTP_EVICT_SHARE:
                break
            self.note("evicted")
            self.leave(largest)
            largest.transport.abort()

    def note(self, reason: str) -> None:
        """Count a connection that was refused or closed by us."""
        self._told[reason] += 1
        if self._count is not None:
            self._count(reason)

    def _make_room(self, fresh: LimitedProtocol) -> None:
        """一次腾出一批：上限附近每来一个连接都扫一遍就太贵了。"""
        idle = [connection for connection in self.open if connection is not fresh and connection.expendable]
        idle.sort(key=lambda connection: (connection.phase, connection.since))
        for connection in idle[: max(1, self.limit // c.HTTP_EVICT_SHARE)]:
            self.note("evicted")
            self.open.discard(connection)
            connection.transport.abort()

    def _tell(self, now: float) -> None:
        """洪水时一段时间只写一行。"""
        if not self._told or now < self._tell_at:
            return
        self._tell_at = now + c.HTTP_TELL_S
        log.warning("拒绝或关闭了连接", reasons=dict(self._told), open=len(self.open), limit=self.limit)
        self._told.clear()
