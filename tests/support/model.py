"""A small model of all that the store promises: what becomes of each task, whatever is done in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from taskmill.states import FINAL, State
from tests.support.model_slots import Line, Slots


@dataclass
class Task(Line):
    """What the model knows of a task; `number` is its place in its sequence."""

    number: int = 0
    key: str | None = None
    stop: bool = False
    parents: set[UUID] = field(default_factory=set)
    on_failure: str = "cancel"
    unique: str | None = None
    unique_while: str = "live"
    claims: int = 0
    cancelling: bool = False

    @property
    def holds(self) -> str | None:
        """Return the unique key that it keeps others from."""
        if self.state in FINAL or (self.unique_while == "waiting" and self.claims):
            return None
        return self.unique


@dataclass
class Model:
    """The rules, in the plainest way."""

    window: int
    tasks: dict[UUID, Task] = field(default_factory=dict)
    turn: dict[str, UUID] = field(default_factory=dict)
    stops: set[UUID] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.slots = Slots(self.window)

    def add(self, task: Task) -> None:
        """Take in a new task."""
        self.tasks[task.id] = self.slots.lines[task.id] = task

    def holder(self, unique: str) -> UUID | None:
        """Return who has this unique key."""
        return next((task_id for task_id, task in self.tasks.items() if task.holds == unique), None)

    def live(self, key: str) -> list[tuple[int, UUID]]:
        """Return the live tasks of a sequence, in order."""
        return sorted((t.number, i) for i, t in self.tasks.items() if t.key == key and t.state not in FINAL)

    def look(self) -> None:
        """Do everything that follows from what is."""
        self.see_parents()
        for key in sorted({task.key for task in self.tasks.values() if task.key is not None}):
            self.pass_turn(key)
        for task_id, task in self.tasks.items():
            if task.state == "blocked" and not task.parents and (task.key is None or self.turn.get(task.key) == task_id):
                task.state, task.slot = "available", self.slots.where(task)

    def see_parents(self) -> None:
        """Let every task see which of its parents have ended."""
        while any(self.parents_of(task) for task in self.tasks.values()):
            pass

    def parents_of(self, task: Task) -> bool:
        """Take away parents that have ended; says whether that has ended the task, too."""
        over = {parent for parent in task.parents if self.tasks[parent].state in FINAL}
        task.parents -= over
        failed = any(self.tasks[parent].state != "completed" for parent in over)
        if task.state != "blocked" or not failed or task.on_failure != "cancel":
            return False
        task.state = "cancelled"
        return True

    def pass_turn(self, key: str) -> None:
        """Let the first have the turn if nobody has it and no failed one is before it."""
        waiting = self.live(key)
        if self.turn.get(key) in {task_id for _, task_id in waiting}:
            return
        self.turn.pop(key, None)
        barrier = [self.tasks[task_id].number for task_id in self.stops if self.tasks[task_id].key == key]
        if waiting and all(waiting[0][0] < number for number in barrier):
            self.turn[key] = waiting[0][1]

    def end(self, task_id: UUID, state: State) -> None:
        """End a task."""
        task = self.tasks[task_id]
        task.state, task.slot, task.cancelling = state.value, None, False
        if state is State.DISCARDED and task.stop and task.key:
            self.stops.add(task_id)
        self.look()

    def reopen(self, task_id: UUID) -> bool:
        """Bring a final task back; False if another one has its unique key."""
        task = self.tasks[task_id]
        kept = task.unique if task.unique_while == "live" else None
        if kept is not None and self.holder(kept) is not None:
            return False
        self.see_parents()
        task.unique, task.parents, task.slot = kept, set(), None
        task.state = "available" if task.key is None else "blocked"
        self.stops.discard(task_id)
        self.look()
        return True
