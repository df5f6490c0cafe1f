"""What `benchmarks.fill` puts into a database is what a platform would have left: sums agree, and every measured page shows it."""

from __future__ import annotations

import re

import pytest

from benchmarks.dashboard import PAGES, SAMPLES
from benchmarks.fill import Sizes, fill
from taskmill.services.platform import Platform
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio
EMPTY = re.compile(r'class="empty">([^<]*)')
NOTHING = {"plugins"}  # 测试里一个也没有装
SIZES = Sizes(live=1_000, finished=3_000, days=2, queues=12, kinds=15, groups=3, workers=3, schedules=5)
# 每条都该一行也没有
WRONG = {
    "counts of rollups": """
        select from (select state, count(*) as n from taskmill.task_history group by 1) t
        left join (select outcome, sum(n) as n from taskmill.rollups group by 1) r on r.outcome = t.state where r.n is distinct from t.n""",
    "attempts without a task": """
        select from taskmill.task_attempts a where not exists (
          select from taskmill.tasks where id = task_id union all select from taskmill.task_history where id = task_id)""",
    "groups that count otherwise": """
        select from taskmill.failures f where n <> (select count(*) from taskmill.task_attempts a where a.fingerprint = f.fingerprint)""",
    "tasks of unknown queues or kinds": """
        select from taskmill.tasks where queue not in (select name from taskmill.queues) or kind not in (select kind from taskmill.kinds)""",
    "finished in the future": "select from taskmill.task_history where finished_at > now() or created_at > finished_at",
}


@pytest.fixture
async def filled(platform: Platform, database_url: str) -> None:
    await platform.database.pool.execute("drop table taskmill.task_history_tests")  # 测试的模板里一个分区管所有的日子
    await fill(database_url, SIZES)


async def test_a_filled_database_is_sound_and_every_page_shows_it(filled: None, platform: Platform, me: Visitor) -> None:
    pool = platform.database.pool
    assert await pool.fetchval("select count(*) from taskmill.tasks") == SIZES.live
    assert abs(await pool.fetchval("select count(*) from taskmill.task_history") - SIZES.finished) <= SIZES.days
    for name, statement in WRONG.items():
        assert await pool.fetch(statement) == [], name
    samples = dict(await pool.fetchrow(SAMPLES) or {})
    for name, path in PAGES.items():
        answer = await me.get(path.format(**samples))
        assert answer.status_code == 200, name
        assert "<h1" in answer.text, name
        assert (EMPTY.findall(answer.text) == []) == (name not in NOTHING), name
