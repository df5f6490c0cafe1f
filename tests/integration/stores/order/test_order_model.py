"""Sequences and dependencies against a small model, over the real store: whatever is done in whatever order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from taskmill.ids import new_id
from taskmill.states import FINAL, By, State
from taskmill.stores.database import Database
from taskmill.stores.tasks import control, partitions, stage
from taskmill.stores.tasks.order import sequences
from tests.support.orders import add, end, let_go, new_task, start, states
from tests.support.rows import imbalance

KEYS = ("a", "b")
CLEAR = """truncate taskmill.tasks, taskmill.task_history, taskmill.task_attempts, taskmill.rollups, taskmill.sequences,
           taskmill.sequence_turns, taskmill.sequence_stops, taskmill.task_dependencies, taskmill.ended_parents"""
pick = st.integers(0, 999)


@dataclass
class Task:
    """What the model knows of a task; `number` is its place in its sequence."""

    number: int
    key: str | None
    stop: bool
    parents: set[UUID]
    on_failure: str
    state: str = "blocked"


@dataclass
class Model:
    """The rules, in the plainest way."""

    tasks: dict[UUID, Task] = field(default_factory=dict)
    turn: dict[str, UUID] = field(default_factory=dict)
    stops: set[UUID] = field(default_factory=set)

    def live(self, key: str) -> list[tuple[int, UUID]]:
        """Return the live tasks of a sequence, in order."""
        return sorted((t.number, i) for i, t in self.tasks.items() if t.key == key and t.state not in FINAL)

    def look(self) -> None:
        """Do everything that follows from what is."""
        self.see_parents()
        for key in KEYS:
            self.pass_turn(key)
        for task_id, task in self.tasks.items():
            if task.state == "blocked" and not task.parents and (task.key is None or self.turn.get(task.key) == task_id):
                task.state = "available"

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
        task.state = state.value
        if state is State.DISCARDED and task.stop and task.key:
            self.stops.add(task_id)
        self.look()


class Machine(RuleBasedStateMachine):
    """One database, cleared for each run."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database = Database(self.url)
        self.model = Model()
        self.running: dict[UUID, tuple[int, UUID]] = {}
        self.fresh = False
        self.numbers = 0
        self.do(self.open())

    def do(self, work: Any) -> Any:
        """Run a coroutine."""
        return self.runner.run(work)

    async def open(self) -> None:
        """Begin with empty tables."""
        await self.database.open()
        await self.database.pool.execute(CLEAR)
        async with self.database.pool.acquire() as connection:
            await partitions.ensure_partitions(connection, 1)

    def teardown(self) -> None:
        """Close."""
        self.do(self.database.close())
        self.runner.close()

    def settle_down(self) -> None:
        """Have the releaser look, if there is something new."""
        if self.fresh:
            self.do(let_go(self.database))
            self.fresh = False
            self.model.look()

    def one(self, number: int, *wanted: str) -> UUID | None:
        """Return one of the tasks in these states."""
        found = [i for i, t in self.model.tasks.items() if t.state in wanted]
        return found[number % len(found)] if found else None

    @rule(
        keys=st.lists(st.sampled_from([None, *KEYS]), min_size=1, max_size=3),
        parents=st.lists(pick, max_size=2),
        stop=st.booleans(),
        on_failure=st.sampled_from(["cancel", "run"]),
        late=st.booleans(),
    )
    def submit(self, keys: list[str | None], parents: list[int], stop: bool, on_failure: str, late: bool) -> None:
        """A batch; its submitter looks at once, or dies before."""
        known = list(self.model.tasks)
        of = {known[n % len(known)] for n in parents} if known else set()
        made = [new_task(key, sorted(of), stop=stop and key is not None, on_failure=on_failure) for key in keys]

        async def insert() -> None:
            async with self.database.pool.acquire() as connection:
                await add(connection, *made)

        self.do(insert())
        for task, key in zip(made, keys, strict=True):
            self.numbers += 1
            self.model.tasks[task.id] = Task(self.numbers, key, stop and key is not None, set(of), on_failure)
        self.fresh = True
        if not late:
            self.settle_down()

    @rule(number=pick)
    def claim(self, number: int) -> None:
        """A worker takes one."""
        self.settle_down()
        if (task_id := self.one(number, "available")) is None:
            return
        worker = new_id()

        async def take() -> int | None:
            async with self.database.pool.acquire() as connection:
                return await start(connection, task_id, worker)

        claim_no = self.do(take())
        assert claim_no is not None
        self.running[task_id] = (claim_no, worker)
        self.model.tasks[task_id].state = "running"

    @precondition(lambda self: self.running)
    @rule(number=pick, state=st.sampled_from([State.COMPLETED, State.DISCARDED, State.CANCELLED, State.RETRYABLE]))
    def finish(self, number: int, state: State) -> None:
        """It ends, or waits for its next try; its submitters may not have looked yet."""
        task_id = list(self.running)[number % len(self.running)]
        claim_no, worker = self.running.pop(task_id)
        self.do(end(self.database, task_id, claim_no, worker, state))
        if state in FINAL:
            self.model.end(task_id, state)
            self.settle_down()
        else:
            self.model.tasks[task_id].state = state.value

    @precondition(lambda self: self.running)
    @rule(number=pick)
    def crash(self, number: int) -> None:
        """Its worker dies and the rescuer takes it back."""
        task_id = list(self.running)[number % len(self.running)]
        claim_no, worker = self.running.pop(task_id)
        self.do(end(self.database, task_id, claim_no, worker, State.AVAILABLE, By.RESCUE))
        self.model.tasks[task_id].state = "available"

    @rule()
    def stage(self) -> None:
        """What waited for its next try may run."""
        self.settle_down()
        self.do(stage.stage_due(self.database.pool, 100))
        for task in self.model.tasks.values():
            if task.state == "retryable":
                task.state = "available"

    @rule(number=pick)
    def cancel(self, number: int) -> None:
        """Somebody cancels a waiting one."""
        self.settle_down()
        if (task_id := self.one(number, "available", "blocked", "retryable")) is not None:
            self.do(self.database.unit(lambda connection: control.cancel(connection, task_id, new_id())))
            self.model.end(task_id, State.CANCELLED)

    @rule(number=pick, late=st.booleans())
    def retry(self, number: int, late: bool) -> None:
        """Somebody brings one back, maybe before anybody has looked at what was just submitted to wait for it."""
        if not late:
            self.settle_down()
        if (task_id := self.one(number, *FINAL)) is not None:
            self.do(self.database.unit(lambda connection: control.reopen(connection, task_id, new_id())))
            self.model.see_parents()
            task = self.model.tasks[task_id]
            task.state, task.parents = "blocked", set()
            self.model.stops.discard(task_id)
            self.model.look()
        self.settle_down()

    @rule(number=pick)
    def skip(self, number: int) -> None:
        """Somebody skips a failed one."""
        self.settle_down()
        stops = sorted(self.model.stops)
        if stops:
            task_id = stops[number % len(stops)]
            assert self.do(self.database.unit(lambda connection: control.skip(connection, task_id))) is not None
            self.model.stops.discard(task_id)
            self.model.look()

    @rule(number=pick)
    def expire(self, number: int) -> None:
        """A waiting one is too late."""
        self.settle_down()
        if (task_id := self.one(number, "available", "blocked", "retryable")) is not None:
            late = "update taskmill.tasks set expires_at = now() - interval '1 second' where id = $1"
            self.do(self.database.pool.execute(late, task_id))
            self.do(self.database.unit(lambda connection: stage.expire(connection, 10, new_id())))
            self.model.end(task_id, State.DISCARDED)

    @invariant()
    def agrees(self) -> None:
        """The database and the model say the same of every task."""
        if self.fresh:
            return
        ids = list(self.model.tasks)
        assert self.do(states(self.database, ids)) == [self.model.tasks[each].state for each in ids]
        assert self.do(imbalance(self.database.pool)) == []
        assert {task_id for _, task_id, _ in self.do(sequences.stopped(self.database.pool, 1_000))} == self.model.stops


def test_the_store_and_the_model_agree(database_url: str) -> None:
    Machine.url = database_url
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=health)
    run_state_machine_as_test(Machine, settings=chosen)
