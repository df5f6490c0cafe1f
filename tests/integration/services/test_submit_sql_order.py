"""Sequences and dependencies by `taskmill.submit_task`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from taskmill import task
from taskmill.engine.periodic.releaser import Releaser
from taskmill.services.platform import Platform
from tests.support import orders
from tests.support.engines import platform_of, submit
from tests.support.roles import connected

pytestmark = pytest.mark.anyio
NOBODY = "0190a5c8-7d3f-7aaa-8000-000000000001"
GRANTS = (
    "grant usage on schema taskmill to {role}",
    "grant execute on function taskmill.submit_task(text, jsonb, jsonb) to {role}",
)


@task("shop.step")
async def step(n: int = 0) -> int:
    return n


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, step) as made:
        yield made


@pytest.fixture
async def app(platform: Platform, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url, *GRANTS) as connection:
        yield connection


async def call(connection: Any, **options: Any) -> UUID:
    given = msgspec.json.encode(options, enc_hook=str).decode()
    return await connection.fetchval("select taskmill.submit_task('shop.step', '{}', $1::text::jsonb)", given)


async def test_the_order_of_commits_is_kept_across_both_doors(platform: Platform, app: asyncpg.Connection) -> None:
    first = await call(app, sequence_key="k", sequence_on_failure="stop")
    second = await submit(platform, "shop.step", sequence_key="k")
    third = await call(app, sequence_key="k", delay_s=60)
    await Releaser(platform.database, platform.releaser).run_once()
    await orders.let_go(platform.database)
    assert await orders.states(platform.database, [first, second, third]) == ["available", "blocked", "blocked"]
    await orders.run_as(platform.database, first, "shop.step", "discarded")
    await platform.tasks.skip(first)
    await orders.run_as(platform.database, second, "shop.step", "completed")
    assert await orders.states(platform.database, [first, second, third]) == ["discarded", "completed", "scheduled"]


async def test_a_child_waits_for_its_parents(platform: Platform, app: asyncpg.Connection) -> None:
    parent = await call(app)
    child = await call(app, depends_on=[parent, parent], on_parent_failure="run")
    await orders.let_go(platform.database)
    assert await orders.states(platform.database, [child]) == ["blocked"]
    await orders.run_as(platform.database, parent, "shop.step", "discarded")
    assert await orders.states(platform.database, [child]) == ["available"]


async def test_rolled_back_means_that_nothing_happened(platform: Platform, app: asyncpg.Connection) -> None:
    parent = await call(app)
    transaction = app.transaction()
    await transaction.start()
    await call(app, sequence_key="k", depends_on=[parent])
    await transaction.rollback()
    for table in ("sequences", "task_dependencies"):
        assert await platform.database.pool.fetchval(f"select count(*) from taskmill.{table}") == 0


async def test_a_sequence_that_an_open_transaction_submits_to_is_told_after_a_second(
    platform: Platform, app: asyncpg.Connection
) -> None:
    async with platform.database.transaction() as theirs:
        await orders.add(theirs, orders.new_task("k"))
        with pytest.raises(asyncpg.LockNotAvailableError):
            await call(app, sequence_key="k")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequence_key": ""}, "INVALID_REQUEST: options.sequence_key"),
        ({"sequence_key": "k" * 201}, "INVALID_REQUEST: options.sequence_key"),
        ({"sequence_key": 7}, "INVALID_REQUEST: options.sequence_key"),
        ({"sequence_on_failure": "stop"}, "INVALID_REQUEST: options.sequence_on_failure"),
        ({"sequence_key": "k", "sequence_on_failure": "hope"}, "INVALID_REQUEST: options.sequence_on_failure"),
        ({"on_parent_failure": "run"}, "INVALID_REQUEST: options.on_parent_failure"),
        ({"depends_on": "no"}, "INVALID_REQUEST: options.depends_on"),
        ({"depends_on": ["no"]}, "INVALID_REQUEST: options.depends_on"),
        ({"depends_on": [NOBODY] * 101}, "INVALID_REQUEST: options.depends_on"),
        ({"depends_on": [NOBODY]}, "PARENT_NOT_FOUND: there is no task"),
    ],
)
async def test_what_does_not_fit_is_told_with_its_code(app: asyncpg.Connection, options: dict[str, Any], words: str) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{words}"):
        await call(app, **options)
