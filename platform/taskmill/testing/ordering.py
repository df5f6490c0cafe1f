"""Order in memory: sequences, dependencies, and what the end of a task lets go, as `stores.tasks.order` has it in SQL.

Here nothing happens in between: a submit is looked at at once, and an end before anything else does.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from taskmill.clock import Clock
from taskmill.errors import Code, InputError
from taskmill.states import FINAL, By, State
from taskmill.stores.tasks.order.follow import parent_failed
from taskmill.stores.tasks.submit import NewTask

Row = dict[str, Any]


class Move(Protocol):
    """Changes the state of a row, and other columns with it."""

    def __call__(self, row: Row, by: By, state: State, **changes: Any) -> None:
        """Do so; TransitionError."""
        ...


@dataclass
class Book:
    """Who waits for what."""

    last_no: int = 0
    lines: dict[str, list[tuple[int, UUID]]] = field(default_factory=dict)  # 序列 → 其中活着的，号码小的在前
    turns: dict[str, UUID] = field(default_factory=dict)
    stops: dict[UUID, tuple[str, int]] = field(default_factory=dict)  # 失败而要后面的等着的
    waits: dict[UUID, set[UUID]] = field(default_factory=dict)  # 任务 → 它等的
    children: dict[UUID, dict[UUID, str]] = field(default_factory=dict)  # 任务 → 等它的，以及它失败时怎么办


class Ordering:
    """Sequences and dependencies of the rows of one memory. `ended` and then `follow` is for whoever ends tasks."""

    def __init__(self, rows: dict[UUID, Row], clock: Clock, move: Move) -> None:
        self._rows, self._clock, self._move = rows, clock, move
        self._ended: list[Row] = []
        self.book = Book()

    def snapshot(self) -> Book:
        """Return a copy of who waits for what."""
        return deepcopy(self.book)

    def check(self, tasks: Iterable[NewTask]) -> None:
        """Raise InputError PARENT_NOT_FOUND, with the `index` of the task, if one names a parent that is not there."""
        for index, task in enumerate(tasks):
            for place, parent in enumerate(task.order.parents if task.order is not None else ()):
                if parent not in self._rows:
                    raise InputError(Code.PARENT_NOT_FOUND, id=str(parent), field=f"depends_on[{place}]", index=index)

    def columns(self, task: NewTask) -> Row:
        """Return what a new row says of its order; it has its number then, and what it waits for."""
        order = task.order
        if order is None:
            return {"sequence_key": None, "sequence_no": None, "sequence_stop": None}
        if order.sequence_key is not None:
            self.book.last_no += 1
            order.sequence_no = self.book.last_no
            self._line_up(order.sequence_key, order.sequence_no, task.id)
        if order.parents:
            self.book.waits[task.id] = set(order.parents)
            for parent in order.parents:
                self.book.children.setdefault(parent, {})[task.id] = order.on_failure
        stop = order.stop or None
        return {"sequence_key": order.sequence_key, "sequence_no": order.sequence_no, "sequence_stop": stop}

    def look(self, tasks: Sequence[NewTask]) -> None:
        """Let go those of the new tasks that need not wait; cancel those whose parents failed before. Duplicates are none of them."""
        ordered = [task for task in tasks if task.order is not None and task.id in self._rows]
        parents = {parent for task in ordered for parent in self.book.waits.get(task.id, ())}
        over = [self._rows[parent] for parent in parents if self._rows[parent]["state"] in FINAL]
        self._follow([], over)
        self._advance({task.order.sequence_key for task in ordered if task.order and task.order.sequence_key is not None})

    def ended(self, row: Row) -> None:
        """Remember that this task is final now."""
        self._ended.append(row)

    def follow(self) -> None:
        """Do what follows from what has ended since."""
        if self._ended:
            done, self._ended = self._ended, []
            self._follow(done, done)

    def reopened(self, row: Row) -> None:
        """Give a task that was blocked by a retry its old place in its sequence; what it stopped goes on."""
        self._line_up(row["sequence_key"], row["sequence_no"], row["id"])
        self.book.stops.pop(row["id"], None)
        self._advance([row["sequence_key"]])

    def skip(self, row: Row) -> bool:
        """Let the sequence go on that this failed task stops; False if it stops none."""
        if self.book.stops.pop(row["id"], None) is None:
            return False
        self._advance([row["sequence_key"]])
        return True

    def _follow(self, done: Sequence[Row], parents: Sequence[Row]) -> None:
        """一层一层：取消的任务也有等它的。"""
        everybody, free = list(done), set[UUID]()
        while parents:
            self._cancel(self._resolve(parents, free))
            parents, self._ended = self._ended, []
            everybody += parents
        for row in everybody:
            self._forget(row["id"])
        self._release(free | self._turns(everybody))

    def _resolve(self, parents: Iterable[Row], free: set[UUID]) -> dict[UUID, Row]:
        """不再等这些；返回因此要取消的，以及为了谁。"""
        failed: dict[UUID, Row] = {}
        for parent in sorted(parents, key=lambda row: row["id"]):
            for child, on_failure in self.book.children.pop(parent["id"], {}).items():
                self.book.waits[child].discard(parent["id"])
                free.add(child)
                failing = parent["state"] is not State.COMPLETED and on_failure == "cancel"
                if failing and self._rows[child]["state"] is State.BLOCKED:  # 前一层也许已取消了它
                    failed[child] = parent
        return failed

    def _cancel(self, failed: dict[UUID, Row]) -> None:
        for child in sorted(failed):
            row, parent = self._rows[child], failed[child]
            asked = row["cancel_requested_at"] or self._clock.now()
            error = parent_failed(parent["id"], parent["state"])
            self._move(row, By.CANCEL, State.CANCELLED, error=error, cancel_requested_at=asked)

    def _forget(self, child: UUID) -> None:
        for parent in self.book.waits.pop(child, ()):
            del self.book.children[parent][child]

    def _turns(self, done: Sequence[Row]) -> set[UUID]:
        """轮到的结束了，就轮到下一个；返回轮到了谁。"""
        keys: set[str] = set()
        for row in done:
            key, no = row["sequence_key"], row["sequence_no"]
            if key is None:
                continue
            line = self.book.lines[key]
            del line[bisect_left(line, (no, row["id"]))]
            if row["state"] is State.DISCARDED and row["sequence_stop"]:
                self.book.stops[row["id"]] = key, no
            if self.book.turns.get(key) == row["id"]:
                del self.book.turns[key]
                keys.add(key)
        return self._pass_on(keys)

    def _pass_on(self, keys: Iterable[str]) -> set[UUID]:
        """没有人轮到的，轮到号码最小的；前面有失败而要后面的等着的，不传。"""
        heads: set[UUID] = set()
        for key in keys:
            no, head = next(iter(self.book.lines[key]), (0, None))
            stopped = any(of == key and before < no for of, before in self.book.stops.values())
            if head is not None and not stopped:
                self.book.turns[key] = head
                heads.add(head)
        return heads

    def _advance(self, keys: Collection[str]) -> None:
        self._release(self._pass_on(key for key in keys if key not in self.book.turns))

    def _release(self, ids: Iterable[UUID]) -> None:
        now = self._clock.now()
        for task_id in sorted(ids):
            row = self._rows[task_id]
            key = row["sequence_key"]
            its_turn = key is None or self.book.turns.get(key) == task_id
            if row["state"] is State.BLOCKED and not self.book.waits.get(task_id) and its_turn:
                self.book.waits.pop(task_id, None)
                state = State.AVAILABLE if row["run_at"] <= now else State.SCHEDULED
                self._move(row, By.RELEASE, state, run_at=max(row["run_at"], now))

    def _line_up(self, key: str, no: int, task_id: UUID) -> None:
        insort(self.book.lines.setdefault(key, []), (no, task_id))
