"""Events on their way from the thread of the watch into our loop: in order, none left behind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)
Sink = Callable[[Kind, str, Manifest], None]  # 种类、事件类型（空：列表里的）、对象
Crossed = tuple[Kind, str, Manifest]


class Crossing:
    """`put` is called in the thread of the watch, `drain` in the loop that made this; `events`: what is under way."""

    def __init__(self, sink: Sink, events: deque[Crossed] | None = None) -> None:
        self._sink, self._loop = sink, asyncio.get_running_loop()
        self._events: deque[Crossed] = deque() if events is None else events
        self._called = False  # 已叫过、还没开始取

    def put(self, kind: Kind, change: str, manifest: Any) -> None:
        """Send one event over."""
        # kopf 之后还要读这个对象，我们的缓存只存瘦身后的副本
        self._events.append((kind, change, manifest))
        if not self._called:  # 先放再问，而取的一方先清标记再取：不论在哪里被切走，都不会漏叫
            self._called = True
            self._loop.call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        """Hand over all that has arrived."""
        self._called = False
        while self._events:
            try:
                self._sink(*self._events.popleft())
            except Exception:
                log.exception("事件处理出错")
