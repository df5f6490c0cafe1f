"""Group commit by itself: nobody is left waiting, nobody pays for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from taskmill.ids import new_id
from taskmill.services import constants as c
from taskmill.services.tasks.group_commit import GroupCommit
from taskmill.stores.tasks.submit import Inserted, NewTask

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _task(kind: str = "shop.any") -> NewTask:
    return NewTask(new_id(), "default", kind, 1, 2, b"{}", 5, 1000)


def _stored(tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
    return {task.id: Inserted("available", NOW, None) for task in tasks}


async def test_a_submit_at_the_very_end_of_the_flushers_is_not_left_waiting() -> None:
    stored, gate = asyncio.Semaphore(0), asyncio.Event()

    async def held(tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        stored.release()
        await gate.wait()
        return _stored(tasks)

    group = GroupCommit(held, lambda *_: None)

    async def client(times: int) -> None:
        for _ in range(times):
            await group.put(_task())

    clients = [asyncio.create_task(client(2))]
    await stored.acquire()  # 第一个已经在提交，第二个就得另叫人
    clients.append(asyncio.create_task(client(1)))
    await stored.acquire()
    assert len(group.under_way) == c.GROUP_COMMIT_FLUSHERS == 2
    gate.set()  # 两次提交在同一圈里完成：第一个客户端醒来再提交时，两个都已收工
    async with asyncio.timeout(10):
        await asyncio.gather(*clients)
    assert not group.under_way


async def test_only_the_submit_that_cannot_be_stored_fails_and_only_stored_ones_are_heard_of() -> None:
    heard: list[UUID] = []

    async def insert(tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        await asyncio.sleep(0)
        if any(task.kind == "bad" for task in tasks):
            raise ValueError
        return _stored(tasks)

    group = GroupCommit(insert, lambda tasks, _: heard.extend(task.id for task in tasks))
    tasks = [_task("bad" if n == 4 else "good") for n in range(9)]
    done = await asyncio.gather(*(group.put(task) for task in tasks), return_exceptions=True)
    assert [n for n, answer in enumerate(done) if isinstance(answer, ValueError)] == [4]
    assert sorted(heard) == sorted(task.id for task in tasks if task.kind == "good")


async def test_an_error_of_the_server_reaches_everybody_at_once() -> None:
    calls: list[int] = []

    async def insert(tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        await asyncio.sleep(0)
        calls.append(len(tasks))
        raise ConnectionResetError

    group = GroupCommit(insert, lambda *_: None)
    done = await asyncio.gather(*(group.put(_task()) for _ in range(9)), return_exceptions=True)
    assert all(isinstance(answer, ConnectionResetError) for answer in done)
    assert sum(calls) == 9
