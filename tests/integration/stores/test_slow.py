"""Both pools tell the statements that took long."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from taskmill.stores.database import Database
from taskmill.stores.slow import SlowLog
from tests.support.logs import captured

pytestmark = pytest.mark.anyio
SLEEP = "select 'slow', pg_sleep(0.15)"
FAST = "select 'fast'"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return captured(monkeypatch, "taskmill.stores.slow")


@pytest.mark.parametrize("pool", ["hot", "orm"])
async def test_a_slow_statement_leaves_a_line(database_url: str, told: list[Any], pool: str) -> None:
    database = Database(database_url, slow=SlowLog(0.1))
    await database.open()
    try:
        for statement in (FAST, SLEEP):
            if pool == "hot":
                await database.pool.fetch(statement)
            else:
                async with database.sessions() as session:
                    await session.execute(text(statement))
        await database.pool.fetchval(FAST)  # 记录在语句之后的一圈里才写
    finally:
        await database.close()
    slow = [line for line in told if line["statement"] == SLEEP]  # 机器忙时快的也会慢
    assert [(line["event"], line["log_level"], line["took_ms"] >= 150) for line in slow] == [("语句慢", "warning", True)]
