"""Each fault of the driver that concerns servers or the network begins and ends on real servers, which serve again afterwards."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis.asyncio

from tests.chaos.driver.faults import TABLE
from tests.chaos.driver.run import table_of_kinds
from tests.chaos.driver.stage import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]
ROLE = "api-0"


async def test_every_fault_of_servers_and_network_ends_with_servers_that_serve(server_root: Path) -> None:
    folder = server_root / "driver"
    folder.mkdir()
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        await stage.open_servers()
        postgres, valkey = (
            stage.gates.add(f"{ROLE}>postgres", stage.user_url),
            stage.gates.add(f"{ROLE}>valkey", stage.valkey.url),
        )
        kinds = table_of_kinds(stage)
        names = [name for name, kind in kinds.items() if kind.family not in {"role", "handlers"}]
        assert {kinds[name].family for name in names} == {"postgres", "sql", "valkey", "network"}
        for name in names:
            async with TABLE[name].context(stage, random.Random(1)):
                pass
            await serve(name, postgres, valkey)


async def serve(name: str, postgres: str, valkey: str) -> None:
    """Write to both servers through the gates."""
    assert urlsplit(postgres).port != urlsplit(valkey).port
    connection = await asyncpg.connect(postgres, timeout=20)
    await connection.execute("insert into taskmill.queues (name) values ($1)", name, timeout=20)
    limits = await connection.fetchrow("select current_setting('statement_timeout'), current_setting('lock_timeout')")
    assert tuple(limits) == ("0", "0"), name
    await connection.close()
    async with redis.asyncio.Redis.from_url(valkey, socket_timeout=20) as client:
        assert await client.set("written", name), name
