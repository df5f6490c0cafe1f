"""What limits and fairness keys do with the tasks of one queue, in the plainest way: the part of the model that gives slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from taskmill import constants as c

EVERYBODY = 1 << 30


@dataclass
class Line:
    """Where a task stands: `slot` as in the table; it only matters while the task is available or running."""

    id: UUID
    priority: int
    slots_of: str | None
    turn_of: str | None
    state: str = "blocked"
    slot: int | None = None

    @property
    def waits(self) -> bool:
        """Say whether it is available."""
        return self.state == "available"


@dataclass
class Slots:
    """One queue with its limits; `last` is the key that was served last in each priority."""

    window: int
    max_running: int | None = None
    per_key: int | None = None
    paused: bool = False
    lines: dict[UUID, Line] = field(default_factory=dict)
    last: dict[int, str] = field(default_factory=dict)

    @property
    def limited(self) -> bool:
        """Say whether the queue has limits."""
        return self.max_running is not None or self.per_key is not None

    def where(self, line: Line) -> int | None:
        """Return where a task lines up that becomes available."""
        if self.per_key is not None and line.slots_of is not None:
            return 0
        if line.turn_of is not None:
            return 3
        return 1 if self.limited else None

    def at(self, slot: int | None, priority: int | None = None) -> list[Line]:
        """Return the available tasks in this slot, the first first."""
        found = [
            each for each in self.lines.values() if each.waits and each.slot == slot and priority in (None, each.priority)
        ]
        return sorted(found, key=lambda each: (each.priority, each.id))

    def taken(self, key: str | None = None, slots: tuple[int, ...] = (2,)) -> int:
        """Return how many stand in these slots, of a key or of all."""
        held = (each for each in self.lines.values() if each.waits or each.state == "running")
        return sum(each.slot in slots and key in (None, each.slots_of) for each in held)

    def limit(self, max_running: int | None, per_key: int | None) -> None:
        """Set limits; what had its turn in a queue without any waits for it again."""
        was = self.limited
        self.max_running, self.per_key = max_running, per_key
        if self.limited and not was:
            for each in self.at(2):
                if each.turn_of is not None:
                    each.slot = 3

    def claimable(self, line: Line) -> bool:
        """Say whether a worker gets it."""
        return line.waits and not self.paused and (line.slot == 2 or (line.slot is None and not self.limited))

    def claim(self, line: Line) -> None:
        """Start it."""
        line.state = "running"
        if line.turn_of is not None:
            line.slot = 2 if self.limited else None

    def give_back(self, line: Line, state: str) -> None:
        """It waits again."""
        line.state = state
        line.slot = (3 if line.turn_of is not None and line.slot == 2 else line.slot) if state == "available" else None

    def settle_down(self) -> None:
        """Do all that the scheduler does, until nothing changes."""
        while self._round():
            pass

    def _round(self) -> bool:
        before = {each.id: each.slot for each in self.lines.values()}
        for each in [] if self.limited else [*self.at(0), *self.at(1)]:
            each.slot = None if each.turn_of is None else 3
        for each in self.at(None):
            each.slot = self.where(each)
        for each in self.lines.values():
            if self.limited and each.state == "running" and each.slot is None:
                each.slot = 2
        if not self.paused:
            self._give()
        return before != {each.id: each.slot for each in self.lines.values()}

    def _give(self) -> None:
        if not self.limited:
            for priority in c.PRIORITIES:
                self._take(priority, self.window - self._given(priority), limited=False)
            return
        for key in {each.slots_of for each in self.at(0)}:
            room = EVERYBODY if self.per_key is None else self.per_key - self.taken(key, (1, 2, 3))
            for each in [each for each in self.at(0) if each.slots_of == key][: max(room, 0)]:
                each.slot = 3 if each.turn_of is not None else 2 if self.max_running is None else 1
        room = EVERYBODY if self.max_running is None else self.max_running - self.taken()
        if not self.at(3):
            for each in self.at(1)[: max(room, 0)]:
                each.slot = 2 if self._fits(each) else 0
            return
        self._share(room)

    def _share(self, room: int) -> None:
        for priority in c.PRIORITIES:
            wanted = min(room, self.window - (self._given(priority) if self.at(3, priority) else 0))
            if wanted <= 0:
                return
            given = self._take(priority, wanted, limited=True)
            room -= given
            if given == wanted:
                return

    def _given(self, priority: int) -> int:
        return sum(each.turn_of is not None for each in self.at(2, priority))

    def _fits(self, line: Line) -> bool:
        return self.per_key is None or line.slots_of is None or self.taken(line.slots_of) < self.per_key

    def _take(self, priority: int, most: int, *, limited: bool) -> int:
        given = 0
        while given < most:
            waiting = [*self.at(3, priority), *(self.at(1, priority) if limited else ())]
            keys = {each.turn_of or "" for each in waiting}
            if not keys:
                break
            key = next_key(keys, self.last.get(priority, ""))
            first = min((each for each in waiting if (each.turn_of or "") == key), key=lambda each: each.id)
            first.slot = 2 if self._fits(first) else 0
            given += first.slot == 2
            self.last[priority] = key
        return given


def next_key(keys: Iterable[str], last: str) -> str:
    """Return whose turn it is in the circle of keys after `last`."""
    found = sorted(keys)
    return next((key for key in found if key > last), found[0])
