"""Queues: their rows, their pause and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.base import Json
from taskmill.models.fairness_turn import FairnessTurn
from taskmill.models.task import FAIR, FAIR_PLACE, SLOTTED, Task
from taskmill.models.task_queue import KEY_LIMITS, KEYED, LIMITS, RECOUNTED, TaskQueue

# 经 jsonb 去取：迁移之前的库缺几列，也看得到其余的
ROWS = text("select to_jsonb(q) as found from taskmill.queues q order by name").columns(found=Json)
# 才有了按键的上限：已经排到队列这里的带键任务退回去，按键排过才算
LINE_UP = text(f"""
update taskmill.tasks t set slot = 0 from taskmill.queues q
where q.name = :queue and not {KEYED} and t.queue = q.name and t.slot in (1, 3) and {SLOTTED} and t.concurrency_key is not null
""")
# 才有了上限：放行了而没有开始的公平键任务，没有数过空位，退回去重新等轮到；开始了的照旧
STEP_BACK = text(f"""
update taskmill.tasks t set slot = 3, ticket_at = null from taskmill.queues q
where q.name = :queue and q.limited and t.queue = q.name and {FAIR} and {FAIR_PLACE} = 2
""")
# 迁移之前的库没有公平键
FAIR_THERE = text("""
select exists (select from pg_attribute where attrelid = 'taskmill.tasks'::regclass and attname = 'fairness_key' and not attisdropped)
""")
COLUMNS = text(
    "select attname from pg_attribute where attrelid = 'taskmill.queues'::regclass and attnum > 0 and not attisdropped"
)


async def fetch_page(session: AsyncSession, *, limit: int, offset: int) -> tuple[Sequence[TaskQueue], int]:
    """Return queues by name, and how many there are in all."""
    statement = select(TaskQueue).order_by(TaskQueue.name).limit(limit).offset(offset)
    rows = (await session.execute(statement)).scalars().all()
    return rows, (await session.execute(select(func.count()).select_from(TaskQueue))).scalar_one()


async def fetch_rows(session: AsyncSession) -> Sequence[Mapping[str, Any]]:
    """Return the columns of every queue that the database has, by name; also of a schema that is not the newest."""
    return (await session.execute(ROWS)).scalars().all()


async def columns(session: AsyncSession) -> set[str]:
    """Return the columns that the database has."""
    return set((await session.execute(COLUMNS)).scalars())


async def fetch(session: AsyncSession, name: str) -> TaskQueue | None:
    """Return one queue, None if it is unknown."""
    return await session.get(TaskQueue, name)


async def pause(session: AsyncSession, name: str, by: str | None) -> bool:
    """Pause a queue; one that is paused keeps its time and author. False if it is unknown."""
    statement = (
        update(TaskQueue)
        .where(TaskQueue.name == name)
        .values(
            paused_at=func.coalesce(TaskQueue.paused_at, func.now()),
            paused_by=func.coalesce(TaskQueue.paused_by, by),
            updated_at=func.now(),
        )
        .returning(TaskQueue.name)
    )
    return (await session.execute(statement)).first() is not None


async def resume(session: AsyncSession, name: str) -> bool:
    """Resume a queue; False if it is unknown."""
    statement = (
        update(TaskQueue)
        .where(TaskQueue.name == name)
        .values(paused_at=None, paused_by=None, updated_at=func.now())
        .returning(TaskQueue.name)
    )
    return (await session.execute(statement)).first() is not None


async def remove(session: AsyncSession, name: str) -> bool | None:
    """Delete a queue without live tasks; False if it has some, None if it is unknown."""
    found = await session.get(TaskQueue, name, with_for_update=True)
    if found is None:
        return None
    if await session.scalar(select(exists().where(Task.queue == name))):
        return False
    await session.execute(delete(FairnessTurn).where(FairnessTurn.queue == name))
    await session.execute(delete(TaskQueue).where(TaskQueue.name == name))
    return True


async def put(session: AsyncSession, name: str, policy: Mapping[str, Any], by: str | None, former: str = "") -> None:
    """Make the queue if it is unknown and set what `policy` holds: `paused`, and columns by name; the rest stays.

    A queue that is paused already keeps the time and the author of its pause; an author `former` becomes `by`.
    """
    await session.execute(insert(TaskQueue).values(name=name).on_conflict_do_nothing())
    if any(policy.get(limit) is not None for limit in KEY_LIMITS if limit != RECOUNTED):
        await session.execute(LINE_UP, {"queue": name})
    values = {name: value for name, value in policy.items() if name != "paused"}
    if policy.get("paused") is True:
        values |= {
            "paused_at": func.coalesce(TaskQueue.paused_at, func.now()),
            "paused_by": func.coalesce(func.nullif(TaskQueue.paused_by, former), by),
        }
    elif policy.get("paused") is False:
        values |= {"paused_at": None, "paused_by": None}
    if values:
        step_back = any(values.get(limit) is not None for limit in LIMITS) and await session.scalar(FAIR_THERE)
        # 锁住这一行：正在放行的提交之后才轮到我们，此后放行的看得到新的上限
        was = (
            await session.scalar(select(TaskQueue.limited).where(TaskQueue.name == name).with_for_update())
            if step_back
            else None
        )
        await session.execute(update(TaskQueue).where(TaskQueue.name == name).values(**values, updated_at=func.now()))
        if step_back and not was:
            await session.execute(STEP_BACK, {"queue": name})
