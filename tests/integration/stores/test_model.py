"""The store against a small model: submit, unique keys, claim, every end, pause, limits, sequences, parents, fairness, in any order.

`TASKMILL_TEST_MODEL_STEPS` and `TASKMILL_TEST_MODEL_SEED` choose how many steps it does, and which.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from taskmill.engine.periodic.limiter import Limiter
from taskmill.ids import new_id
from taskmill.services.queues.limits import Promoter
from taskmill.services.tasks import order
from taskmill.states import FINAL, By, State
from taskmill.stores.database import Connection, Database
from taskmill.stores.queues import policy
from taskmill.stores.tasks import claim, control, partitions, settle, stage, submit, unique
from taskmill.stores.tasks.control import KeyTakenError
from taskmill.stores.tasks.order import sequences
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.tasks.submit import NewTask, Uniqueness
from tests.support.model import Model, Task
from tests.support.orders import LONG_AGO, SERVED, let_go, new_task, start
from tests.support.rows import imbalance

QUEUE, WINDOW, AN_EXAMPLE = "default", 4, 40
WAIT_MS = 8_000  # 短于语句的时限；再短，挤满的机器上同一序列的几个提交会等不到
STEPS = int(os.environ.get("TASKMILL_TEST_MODEL_STEPS", "400"))
SEED = int(os.environ.get("TASKMILL_TEST_MODEL_SEED", "20261129"))
CLEAR = """truncate taskmill.tasks, taskmill.task_history, taskmill.task_attempts, taskmill.rollups, taskmill.sequences,
           taskmill.sequence_turns, taskmill.sequence_stops, taskmill.task_dependencies, taskmill.ended_parents,
           taskmill.fairness_turns, taskmill.queues"""
SHOWN = "select id, slot from taskmill.tasks where state in ('available', 'running')"
STALE = "select id, claim_no from taskmill.tasks where state = 'available' and slot is null and ticket_at is not null"
WAITING = ("available", "blocked", "retryable", "scheduled")
pick = st.integers(0, 999)


class Machine(RuleBasedStateMachine):
    """One database, cleared for each run."""

    url = ""
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database = Database(self.url)
        self.model = Model(WINDOW)
        self.running: dict[UUID, tuple[int, UUID]] = {}
        self.fresh = self.crowded = False
        self.numbers = self.allowed = 0
        self.do(self.open())

    def do(self, work: Any) -> Any:
        """Run a coroutine."""
        return self.runner.run(work)

    async def open(self) -> None:
        """Begin with empty tables."""
        await self.database.open()
        await self.database.pool.execute(CLEAR)
        await self.database.pool.execute("insert into taskmill.queues (name) values ($1)", QUEUE)
        async with self.database.pool.acquire() as connection:
            await partitions.ensure_partitions(connection, 1)
        self.promoters = [Silent(self.database) for _ in range(2)]

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

    async def unit(self, work: Any) -> Any:
        """Do something in a transaction of a connection of its own."""
        return await self.database.unit(work)

    def made(self, key: str | None, parents: set[UUID], told: tuple[bool, bool], **fields: Any) -> NewTask:
        """Return a new task that lines up by what its submitter remembers of the queue's limits."""
        task = new_task(key, sorted(parents), **fields)
        limited, keyed = told
        if keyed and task.concurrency_key is not None:
            task.slot = 0
        elif task.fairness_key is not None:
            task.slot = 3
        elif limited:
            task.slot = 1
        task.ticketed = task.slot is None and task.order is None
        return task

    def known(self, task: NewTask) -> None:
        """Tell the model of a task that was stored."""
        slots, after = self.model.slots, task.order
        self.numbers += 1
        found = Task(
            task.id,
            task.priority,
            task.concurrency_key,
            task.fairness_key,
            number=self.numbers,
            key=after and after.sequence_key,
            stop=after is not None and after.stop,
            parents=set(after.parents) if after else set(),
            on_failure=after.on_failure if after else "cancel",
            unique=task.unique and task.unique.key,
            unique_while=task.unique.while_ if task.unique else "live",
        )
        self.model.add(found)
        if after is not None:
            self.fresh = True
            return
        found.state, found.slot = "available", task.slot
        if task.slot is not None and task.concurrency_key is not None:
            found.slot = 0 if slots.per_key is not None else 3 if task.fairness_key is not None else 1

    @rule(
        keys=st.lists(st.sampled_from([None, None, "a", "b"]), min_size=1, max_size=4),
        parents=st.lists(pick, max_size=2),
        stop=st.booleans(),
        on_failure=st.sampled_from(["cancel", "run"]),
        late=st.booleans(),
        priority=st.sampled_from([1, 2, 2]),
        slots_of=st.sampled_from([None, "x", "y"]),
        turn_of=st.sampled_from([None, "k", "l", "m"]),
        remembers=st.booleans(),
        keyed=st.booleans(),
    )
    def submit(self, *, keys: list[str | None], parents: list[int], stop: bool, on_failure: str, late: bool, priority: int,
               slots_of: str | None, turn_of: str | None, remembers: bool, keyed: bool) -> None:  # fmt: skip
        """A batch; its submitter may remember other limits, looks at once who waits for whom, or dies before."""
        known, slots = list(self.model.tasks), self.model.slots
        of = {known[n % len(known)] for n in parents} if known else set()
        told = (slots.limited, slots.per_key is not None) if remembers else (keyed, keyed)
        fields = {"priority": priority, "concurrency_key": slots_of, "fairness_key": turn_of, "on_failure": on_failure}
        made = [self.made(key, of, told, stop=stop and key is not None, **fields) for key in keys]

        async def insert(connection: Connection) -> None:
            if plain := [task for task in made if task.order is None]:
                await submit.insert(connection, plain)
            if ordered := [task for task in made if task.order is not None]:
                await order.insert(connection, ordered, WAIT_MS)

        self.do(self.unit(insert))
        for task in made:
            self.known(task)
        if not late:
            self.settle_down()

    @rule(
        key=st.sampled_from(["u", "v"]),
        sequence=st.sampled_from([None, None, "a"]),
        while_=st.sampled_from(["live", "waiting"]),
        on_duplicate=st.sampled_from(["return", "replace"]),
        turn_of=st.sampled_from([None, "k", "n"]),
        at_once=st.integers(1, 3),
    )
    def submit_unique(
        self, key: str, sequence: str | None, while_: Any, on_duplicate: Any, turn_of: str | None, at_once: int
    ) -> None:
        """The same key, by several connections at once: one is stored at most, all others are told which."""
        rule_ = Uniqueness(key=key, while_=while_, on_duplicate=on_duplicate, of=None)
        slots = self.model.slots
        told = (slots.limited, slots.per_key is not None)
        made = [self.made(sequence, set(), told, unique=rule_, fairness_key=turn_of) for _ in range(at_once)]
        insert = unique.insert if sequence is None else order.insert

        async def submit_all() -> list[Any]:
            works = [self.unit(lambda connection, task=task: insert(connection, [task], WAIT_MS)) for task in made]
            return await asyncio.gather(*works)

        holder = self.model.holder(key)
        inserted: dict[UUID, Any] = {}
        for each in self.do(submit_all()):
            inserted |= each
        stored = [task for task in made if inserted[task.id].duplicate_of is None]
        assert len(stored) == (0 if holder else 1)
        winner = holder or stored[0].id
        assert {inserted[task.id].duplicate_of for task in made if task not in stored} <= {winner}
        for task in stored:
            self.known(task)
        self.settle_down()

    @rule(number=pick, at_once=st.integers(1, 2))
    def claim(self, number: int, at_once: int) -> None:
        """Workers try to take one, at once: one of them gets it, if it may run."""
        self.settle_down()
        if (task_id := self.one(number, "available")) is None:
            return
        task, slots = self.model.tasks[task_id], self.model.slots
        workers = [new_id() for _ in range(at_once)]

        async def take(worker: UUID) -> int | None:
            async with self.database.pool.acquire() as connection:
                return await start(connection, task_id, worker)

        async def take_all() -> list[int | None]:
            return await asyncio.gather(*map(take, workers))

        got = [(claim_no, worker) for claim_no, worker in zip(self.do(take_all()), workers, strict=True) if claim_no]
        assert len(got) == int(slots.claimable(task))
        if not got:
            return
        (self.running[task_id],) = got
        slots.claim(task)
        task.claims += 1
        now = sum(each.state == "running" for each in self.model.tasks.values())
        assert slots.max_running is None or now <= max(slots.max_running, self.allowed)

    async def end(self, task_id: UUID, state: State, by: By, **more: Any) -> State:
        """Settle a running task."""
        claim_no, worker = self.running.pop(task_id)
        error = b'{"type":"E","message":"m"}' if state is not State.COMPLETED else None
        outcome = Outcome(task_id, claim_no, worker, state, by=by, error=error, **more)
        async with self.database.transaction() as connection:
            return (await settle.settle(connection, [outcome], new_id()))[task_id]

    @precondition(lambda self: self.running)
    @rule(
        number=pick,
        state=st.sampled_from(
            [State.COMPLETED, State.COMPLETED, State.DISCARDED, State.CANCELLED, State.RETRYABLE, State.SCHEDULED]
        ),
    )
    def finish(self, number: int, state: State) -> None:
        """It ends, fails and waits for its next try, or snoozes; its submitters may not have looked yet."""
        task_id = list(self.running)[number % len(self.running)]
        self._ended(task_id, state, self.do(self.end(task_id, state, By.SETTLE)))

    @precondition(lambda self: self.running)
    @rule(number=pick)
    def crash(self, number: int) -> None:
        """Its worker dies and the rescuer takes it back."""
        task_id = list(self.running)[number % len(self.running)]
        refund = {"attempt_delta": -1}
        self._ended(task_id, State.AVAILABLE, self.do(self.end(task_id, State.AVAILABLE, By.RESCUE, **refund)))

    def _ended(self, task_id: UUID, wanted: State, got: State) -> None:
        task = self.model.tasks[task_id]
        state = State.CANCELLED if task.cancelling and wanted not in FINAL else wanted
        assert got == state
        if state in FINAL:
            self.model.end(task_id, state)
            self.settle_down()
        else:
            self.model.slots.give_back(task, state.value)

    @precondition(lambda self: self.running)
    @rule(number=pick)
    def stale(self, number: int) -> None:
        """A worker that lost its task settles it all the same, and changes nothing."""
        task_id = list(self.running)[number % len(self.running)]
        claim_no, _ = self.running[task_id]
        outcome = Outcome(task_id, claim_no, new_id(), State.COMPLETED)

        async def try_it() -> Any:
            async with self.database.transaction() as connection:
                return await settle.settle(connection, [outcome], new_id())

        assert self.do(try_it()) == {}

    @rule()
    def stage(self) -> None:
        """What waited for its time may run."""
        self.settle_down()
        self.do(stage.stage_due(self.database.pool, 100, LONG_AGO))
        for task in self.model.tasks.values():
            if task.state in ("retryable", "scheduled"):
                task.state, task.slot = "available", None

    @rule(number=pick)
    def cancel(self, number: int) -> None:
        """Somebody cancels a waiting one, or asks a running one to end."""
        self.settle_down()
        if (task_id := self.one(number, "running", *WAITING)) is None:
            return
        self.do(self.unit(lambda connection: control.cancel(connection, task_id, new_id())))
        if self.model.tasks[task_id].state == "running":
            self.model.tasks[task_id].cancelling = True
        else:
            self.model.end(task_id, State.CANCELLED)

    @rule(number=pick, late=st.booleans())
    def retry(self, number: int, *, late: bool) -> None:
        """Somebody brings one back, maybe before anybody has looked at what was just submitted to wait for it."""
        if not late:
            self.settle_down()
        if (task_id := self.one(number, *FINAL)) is not None:
            reopened = True
            try:
                self.do(self.unit(lambda connection: control.reopen(connection, task_id, new_id())))
            except KeyTakenError:
                reopened = False
            assert self.model.reopen(task_id) == reopened
        self.settle_down()

    @rule(number=pick)
    def skip(self, number: int) -> None:
        """Somebody skips a failed one."""
        self.settle_down()
        stops = sorted(self.model.stops)
        if stops:
            task_id = stops[number % len(stops)]
            assert self.do(self.unit(lambda connection: control.skip(connection, task_id))) is not None
            self.model.stops.discard(task_id)
            self.model.look()

    @rule(number=pick)
    def expire(self, number: int) -> None:
        """A waiting one is too late."""
        self.settle_down()
        if (task_id := self.one(number, *WAITING)) is not None:
            late = "update taskmill.tasks set expires_at = now() - interval '1 second' where id = $1"
            self.do(self.database.pool.execute(late, task_id))
            self.do(self.unit(lambda connection: stage.expire(connection, 10, new_id(), LONG_AGO)))
            self.model.end(task_id, State.DISCARDED)

    @rule(max_running=st.sampled_from([None, None, 1, 2, 6]), per_key=st.sampled_from([None, None, 1, 2]))
    def limit(self, max_running: int | None, per_key: int | None) -> None:
        """Somebody sets limits; who runs, or has its turn, goes on."""
        self.settle_down()
        self.model.slots.limit(max_running, per_key)
        self.do(self.put(max_running=max_running, max_running_per_key=per_key))
        held = [each for each in self.model.tasks.values() if each.state == "running" or (each.waits and each.slot == 2)]
        self.allowed = len(held)

    @rule(paused=st.booleans())
    def pause(self, *, paused: bool) -> None:
        """Somebody pauses or resumes the queue."""
        self.model.slots.paused = paused
        self.do(self.put(paused=paused))

    async def put(self, **change: Any) -> None:
        """Set the policy of the queue."""
        async with self.database.sessions.begin() as session:
            await policy.put(session, QUEUE, change, "tests")

    @rule()
    def crowd(self) -> None:
        """From now on two schedulers and promoters work at once, or again one."""
        self.crowded = not self.crowded

    async def give(self) -> dict[UUID, int | None]:
        """Do what workers do with stale tickets, and what schedulers do, until nothing changes; returns all slots."""
        if self.model.slots.limited and (stale := await self.database.pool.fetch(STALE)):
            await claim.decline(self.database.pool, sorted((row["id"], row["claim_no"]) for row in stale), SERVED)
        before: dict[UUID, int | None] = {}
        while True:
            rounds = [Limiter(self.database, promoter).run_once() for promoter in self.promoters[: 1 + self.crowded]]
            await asyncio.gather(*rounds)
            found = {row["id"]: row["slot"] for row in await self.database.pool.fetch(SHOWN)}
            if found == before:
                return found
            before = found

    @invariant()
    def agrees(self) -> None:
        """The database and the model say the same of every task: its state, and where it stands."""
        type(self).steps += 1
        if self.fresh:
            return
        slots = self.do(self.give())
        self.model.slots.settle_down()
        rows = self.do(self.database.pool.fetch(
            "select id, state from taskmill.tasks union all select id, state from taskmill.task_history"
        ))  # fmt: skip
        assert {row["id"]: row["state"] for row in rows} == {i: t.state for i, t in self.model.tasks.items()}
        shown = {i: t.slot for i, t in self.model.tasks.items() if t.state in ("available", "running")}
        assert slots == shown
        served = self.do(self.database.pool.fetch("select priority, key from taskmill.fairness_turns"))
        assert {row["priority"]: row["key"] for row in served} == self.model.slots.last
        assert self.do(imbalance(self.database.pool)) == []
        assert {task_id for _, task_id, _ in self.do(sequences.stopped(self.database.pool, 1_000))} == self.model.stops


class Silent(Promoter):
    """Sends no tickets: the workers of this test need none."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, None, window=WINDOW)  # type: ignore[arg-type]

    async def send(self, tickets: Any) -> None:
        """Do nothing."""


@pytest.mark.timeout(7_200 if STEPS > 1_000 else 300)
def test_the_store_and_the_model_agree(database_url: str) -> None:
    Machine.url, Machine.steps = database_url, 0
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(
        max_examples=max(1, STEPS // AN_EXAMPLE), stateful_step_count=AN_EXAMPLE, deadline=None, database=None,
        suppress_health_check=health, phases=(Phase.generate, Phase.shrink) if STEPS > 1_000 else (Phase.generate,),
    )  # fmt: skip
    run_state_machine_as_test(seed(SEED)(Machine), settings=chosen)
    sys.stdout.write(f"seed {SEED}: {Machine.steps} steps\n")
