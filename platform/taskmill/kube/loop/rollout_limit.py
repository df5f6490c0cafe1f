"""How many TaskQueues may roll out a new template at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from taskmill.kube.apiserver.keys import Key
from taskmill.kube.state import Options


class Rollouts:
    """Counts what the plans say; `wake` has those reconciled that had to wait, once there is room."""

    def __init__(self, limit: int, wake: Callable[[Key], None]) -> None:
        self._limit, self._wake = limit, wake
        self._rolling: set[Key] = set()
        self._waiting: dict[Key, None] = {}

    def options(self, key: Key, options: Options) -> Options:
        """Return the options with whether this one may start now."""
        if key in self._rolling or len(self._rolling) < self._limit:
            self._waiting.pop(key, None)
            return options
        self._waiting[key] = None
        return replace(options, may_start_rollout=False)

    def note(self, key: Key, *, rolling: bool) -> None:
        """Note what the plan of an object said."""
        if rolling:
            self._rolling.add(key)
            return
        self._rolling.discard(key)
        # 叫到的可能早已没什么要换：它这一轮过后，轮到下一个
        for other in list(self._waiting)[: max(0, self._limit - len(self._rolling))]:
            del self._waiting[other]
            self._wake(other)

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._waiting.pop(key, None)
        self.note(key, rolling=False)
