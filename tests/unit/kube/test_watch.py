"""Events cross from the thread of the watch into our loop: none is left behind, whoever is switched off when."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from taskmill.kube import kinds as k
from taskmill.kube import watch
from taskmill.kube.watch import Watch
from tests.support.waiting import eventually


class Interrupted(deque[Any]):
    """Whoever asks whether it is empty is switched off before it hears the answer, and the other side runs."""

    other_side: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        answer = len(self) > 0
        other, self.other_side = self.other_side, None
        if other is not None:
            other()
        return answer


@pytest.mark.anyio
async def test_no_event_is_left_behind() -> None:
    seen: list[str] = []
    watch = Watch((), lambda _kind, _change, manifest: seen.append(manifest["name"]))
    events = watch._events = Interrupted()
    handler = watch._handler(k.POD)
    events.append((k.POD, "ADDED", {"name": "first"}))  # 读的一方正在取：还剩一个
    events.other_side = watch._drain  # 写的一方刚看过还有没有，读的一方就取光了
    await handler(event={"type": "ADDED", "object": {"name": "second"}})
    await handler(event={"type": "ADDED", "object": {"name": "third"}})
    await eventually(lambda: seen == ["first", "second", "third"], timeout=2)


@pytest.mark.anyio
async def test_an_event_that_cannot_be_taken_in_holds_up_no_other() -> None:
    seen: list[str] = []

    def sink(_kind: k.Kind, _change: str, manifest: dict[str, Any]) -> None:
        seen.append(manifest["metadata"]["name"])

    watch = Watch((), sink)
    handler = watch._handler(k.POD)
    for manifest in ({}, {"metadata": {"name": "second"}}):
        await handler(event={"type": None, "object": manifest})
    await eventually(lambda: seen == ["second"])


def test_a_watch_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmill.constants.KUBE_WATCH_END_S", 0.05)
    refused = 0

    async def stubborn() -> None:
        nonlocal refused
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                refused += 1

    async def work() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        assert not task.done()

    watch._run_bounded(work())  # asyncio.run 会永远等下去
    assert refused == 1
