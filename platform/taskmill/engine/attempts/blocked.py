"""A handler that keeps the event loop of its worker for itself: who it is, where it stands, and what becomes of the others.

The lease of its worker runs out and a restart is the only cure, which alone would charge every task that runs there with a
crash, and name nobody.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from taskmill.engine.attempts import outcomes
from taskmill.engine.attempts.attempt import Attempt
from taskmill.engine.attempts.slots import Slots
from taskmill.engine.settler import Settler
from taskmill.plugin import origin
from taskmill.stores.tasks.settle import Outcome


@dataclass(frozen=True, slots=True)
class Blocked:
    """The attempt that has the loop, the place where it stands (`file:line function`), and an outcome for each row held."""

    attempt: Attempt
    where: str
    outcomes: tuple[Outcome, ...]


def look(loop: asyncio.AbstractEventLoop, thread: int, slots: Slots, settler: Settler, silent_s: float) -> Blocked | None:
    """Return who has kept `loop`, which runs in `thread`, for `silent_s` seconds; None if that is no attempt of ours.

    For another thread than the loop's. The loop stands still meanwhile: were it to go on, every outcome would be void by its fence.
    """
    current = asyncio.current_task(loop)
    running = slots.running.copy()
    attempt = next((each for each in running.values() if each.task is current), None)
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - 看别的线程停在哪只有这个办法
    if attempt is None or frame is None:
        return None
    where, stack = origin.standing(frame)
    others = (each for each in running.values() if each is not attempt)
    told = outcomes.blocking(attempt, round(silent_s), where, stack)
    returned = map(outcomes.handed_back, slots.ready.copy())
    return Blocked(attempt, where, (told, *map(outcomes.shut_out, others), *returned, *settler.unwritten()))
