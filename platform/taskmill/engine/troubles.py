"""What keeps a worker from its work, told with each renewal to whoever looks at its row: people, the API, the operator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from taskmill.engine import constants as c
from taskmill.stores.workers.troubles import Troubles


class Watchful:
    """Written by the main loop, `told` in the thread of the heartbeat: every field is replaced as a whole.

    `failed` returns the plugins that did not come up, by name, with their words.
    """

    def __init__(self, failed: Callable[[], Mapping[str, str]] = dict, now: Callable[[], float] = time.monotonic) -> None:
        self._failed, self._now = failed, now
        self._broker: tuple[str, float, float] | None = None  # 说了什么，从何时起，最近一次是何时
        self._declined: dict[str, float] = {}  # 类型 → 最近一次放回

    def broker(self, words: str | None) -> None:
        """Note what the broker said instead of an answer; None: it answers."""
        if words is None:
            self._broker = None
        else:
            before, now = self._failing, self._now()
            self._broker = (words, before[1] if before is not None else now, now)

    def declined(self, kinds: Iterable[str]) -> None:
        """Note the kinds (`kind:version`) of tasks that were put back because nobody serves them here."""
        if found := dict.fromkeys(kinds, self._now()):
            self._declined = {kind: at for kind, at in (self._declined | found).items() if self._recent(at)}

    def told(self) -> Troubles:
        """Return what is wrong now; texts and lists are cut to what a row should hold."""
        broker = self._failing
        kinds = sorted(kind for kind, at in self._declined.items() if self._recent(at))
        failed = sorted(self._failed().items())[: c.TROUBLES_MAX]
        return Troubles(
            broker=broker[0][: c.TROUBLE_CHARS] if broker is not None else "",
            broker_s=int(self._now() - broker[1]) if broker is not None else 0,
            plugins={name: words[: c.TROUBLE_CHARS] for name, words in failed},
            declined=kinds[: c.TROUBLES_MAX],
        )

    @property
    def _failing(self) -> tuple[str, float, float] | None:
        """不再去读的（暂停、收尾、槽位都满着）没有新的答复：旧的失败过一会儿就不算数。"""
        broker = self._broker
        return broker if broker is not None and self._now() - broker[2] < c.BROKER_TOLD_S else None

    def _recent(self, at: float) -> bool:
        return self._now() - at < c.DECLINED_S
