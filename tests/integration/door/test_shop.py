"""examples/shop: an order and its mail are there together or not at all, wherever the shop is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.dev.ports import choose
from taskmill.services.platform import Platform
from taskmill.services.setup import migrate_up
from tests.support.children import tied
from tests.support.engines import platform_of, staged, worker_on
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
SHOP = Path(__file__).parents[3] / "examples" / "shop"
ORDER = {"email": "ada@example.com", "item": "tea", "quantity": 2}
# 在哪里杀：包住真的那一步，到了就 kill -9 自己；商店的代码一个字也没有改
DOOMED = """
import os, signal
import asyncpg.transaction
import taskmill
from taskmill import Taskmill

def die():
    os.kill(os.getpid(), signal.SIGKILL)

real_submit, real_exit = Taskmill.submit, asyncpg.transaction.Transaction.__aexit__
point, stored = os.environ["SHOP_DIES"], False

async def submit(self, *args, **options):
    global stored
    if point == "between the two writes":
        die()
    order = await real_submit(self, *args, **options)
    if point == "after both writes":
        die()
    stored = True
    return order

async def leave(self, *error):
    if stored and point == "before the commit":
        die()
    await real_exit(self, *error)
    if stored and point == "after the commit":
        die()

Taskmill.submit, asyncpg.transaction.Transaction.__aexit__ = submit, leave
from shop import app
"""


class Box(Message):
    """The mails that came in."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@pytest.fixture
def box() -> Iterator[tuple[Box, int]]:
    box, port = Box(), choose(None)
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box, port
    server.stop()


@pytest.fixture
async def platform(
    database_url: str, broker_url: str, box: tuple[Box, int], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Platform]:
    monkeypatch.syspath_prepend(SHOP)
    mails = import_module("mails")
    monkeypatch.setattr(mails.mailer, "config", mails.MailConfig(smtp_port=box[1]))
    await migrate_up(database_url, plugins={"shop": mails.taskmill_migrations()})
    async with platform_of(database_url, broker_url, mails.confirm) as made:
        yield made


@contextmanager
def shop(database_url: str, broker_url: str, folder: Path, dies: str = "") -> Iterator[str]:
    """Run the shop as its README does and give its address; killed at the end."""
    (folder / "doomed.py").write_text(DOOMED, encoding="utf-8")
    port = choose(None)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKMILL_")}
    urls = {"TASKMILL_DATABASE_URL": database_url, "TASKMILL_BROKER_URL": broker_url}
    environment = {**kept, **urls, "PYTHONPATH": f"{SHOP}:{folder}", "SHOP_DIES": dies}
    command = tied(
        sys.executable, "-m", "uvicorn", "doomed:app" if dies else "shop:app", "--port", str(port), death=signal.SIGKILL
    )
    with (
        (folder / "shop.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def up(address: str) -> None:
    """Wait until the shop answers."""

    async def answers() -> bool:
        async with httpx2.AsyncClient() as client:
            try:
                return (await client.get(f"{address}/orders/0")).status_code == 404
            except httpx2.TransportError:
                return False

    await eventually(answers, why="the shop is up")


async def counts(platform: Platform) -> tuple[int, int]:
    """Return how many orders there are, and how many tasks, live and final."""
    pool = platform.database.pool
    orders = await pool.fetchval("select count(*) from shop.orders")
    tasks = "select (select count(*) from taskmill.tasks) + (select count(*) from taskmill.task_history)"
    return orders, await pool.fetchval(tasks)


async def test_an_order_is_confirmed_by_one_mail(
    platform: Platform, database_url: str, broker_url: str, tmp_path: Path, box: tuple[Box, int]
) -> None:
    async with staged(platform), worker_on(platform):
        with shop(database_url, broker_url, tmp_path) as address:
            await up(address)
            async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
                placed = await client.post("/orders", json=ORDER)
                assert placed.status_code == 201, placed.text
                assert {**ORDER, "number": 1}.items() <= placed.json().items()

                async def sent() -> bool:
                    return (await client.get("/orders/1")).json()["mail"] == "completed"

                await eventually(sent, why="the mail is sent")
                refused = await client.post("/orders", json={**ORDER, "email": "nobody"})
                assert refused.status_code == 400
    (mail,) = box[0].mails
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Your order 1")
    assert "2 × tea" in mail.get_payload(decode=True).decode()
    assert await counts(platform) == (1, 1)


async def test_a_refused_mail_is_an_answer_and_no_order(
    platform: Platform, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    await platform.queues.put("mail", QueuePolicyChange(max_backlog=1))
    with shop(database_url, broker_url, tmp_path) as address:
        await up(address)
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            answers = [await client.post("/orders", json=ORDER) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 429]
    assert answers[1].json()["code"] == "QUEUE_FULL"
    assert await counts(platform) == (1, 1)


@pytest.mark.parametrize(
    ("dies", "left"),
    [
        ("between the two writes", 0),
        ("after both writes", 0),
        ("before the commit", 0),
        ("after the commit", 1),
    ],
)
async def test_wherever_it_is_killed_nothing_is_half_done(
    platform: Platform, database_url: str, broker_url: str, tmp_path: Path, box: tuple[Box, int], dies: str, left: int
) -> None:
    with shop(database_url, broker_url, tmp_path, dies) as address:
        await up(address)
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            with pytest.raises(httpx2.TransportError):
                await client.post("/orders", json=ORDER)
    gone = "select count(*) = 0 from pg_stat_activity where datname = current_database() and query ilike '%shop.orders%' and pid <> pg_backend_pid()"
    await eventually(lambda: platform.database.pool.fetchval(gone), why="PostgreSQL has noticed")
    assert await counts(platform) == (left, left)
    async with staged(platform), worker_on(platform):
        await eventually(lambda: len(box[0].mails) == left, why="as many mails as orders")
        await eventually(lambda: settled(platform), why="no task is live")
    assert len(box[0].mails) == left
    assert await counts(platform) == (left, left)


async def settled(platform: Platform) -> bool:
    """Say whether no task is live."""
    return await platform.database.pool.fetchval("select count(*) = 0 from taskmill.tasks")
