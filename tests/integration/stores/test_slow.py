"""Both pools tell the statements that took long."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from taskmill.stores.database import Database
from taskmill.stores.slow import SlowLog

pytestmark = pytest.mark.anyio
SLEEP = "select 'slow', pg_sleep(0.15)"
FAST = "select 'fast'"


@pytest.mark.parametrize("pool", ["hot", "orm"])
async def test_a_slow_statement_leaves_a_line(database_url: str, pool: str) -> None:
    database = Database(database_url, slow=SlowLog(0.1))
    await database.open()
    try:
        with capture_logs() as told:
            for statement in (FAST, SLEEP):
                if pool == "hot":
                    await database.pool.fetch(statement)
                else:
                    async with database.sessions() as session:
                        await session.execute(text(statement))
            await database.pool.fetchval(FAST)  # 记录在语句之后的一圈里才写
    finally:
        await database.close()
    lines = [line for line in told if line["event"] == "语句慢"]
    assert [(line["statement"], line["log_level"], line["took_ms"] >= 150) for line in lines] == [(SLEEP, "warning", True)]
