"""Live tasks and finished tasks: the same columns in two tables (see states.py)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base, Json, Timestamps
from taskmill.states import FINAL, LIVE

# 占着键的行；语句里的条件与索引的必须一字不差，规划器才认得
UNIQUE_HELD = "unique_key is not null and (unique_while = 'live' or claim_no = 0)"

SLOTTED = "slot >= 1"
SLOTTED_KEY = "slot is not null and concurrency_key is not null"
SEQUENCED = "sequence_key is not null"
# 有公平键而没有开始的；在等的在哪里：-1 还没有排队，0 与 1 被上限挡着，2 放行了，3 等轮到。
# 写成表达式，只有 tasks_fair 认得：写成 slot = 3，统计过时的时候优化器会改走 tasks_slots，把等着的全走一遍
FAIR = "fairness_key is not null and worker_id is null"
FAIR_STATE, FAIR_SLOT = "coalesce(state, '')", "coalesce(slot, '-1')"
FAIR_PLACE = f"{FAIR_STATE} = 'available' and {FAIR_SLOT}"
NOT_RUNNING = "state <> 'running'"
TICKETLESS = "state = 'available' and ticket_at is null and (slot is null or slot = 2)"


def _one_of(column: str, values: frozenset[Any]) -> str:
    return f"{column} in ({', '.join(sorted(repr(str(value)) for value in values))})"


def _by_tag(name: str) -> Index:
    """没有标签的不在其中。一有就写进去：攒着的话，攒满时正好在写的那个人要等。"""
    return Index(
        name,
        "tags",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        postgresql_where=text("tags is not null"),
    )


def _by_schedule(name: str) -> Index:
    return Index(name, "schedule_id", "id", postgresql_where=text("schedule_id is not null"))


def _by_time(name: str, *columns: str) -> Index:
    """几乎不花什么：等着的、结束了的都按时间先后排在表里。"""
    ranges = {"pages_per_range": 32, "autosummarize": "on"}
    return Index(name, *columns, postgresql_using="brin", postgresql_with=ranges)


class TaskColumns(Timestamps):
    """Columns that live and finished tasks share."""

    queue: Mapped[str]
    kind: Mapped[str]
    kind_version: Mapped[int] = mapped_column(server_default=text("1"))
    state: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("2"))
    args: Mapped[Any] = mapped_column(Json)
    meta: Mapped[Any | None] = mapped_column(Json)
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    claim_no: Mapped[int] = mapped_column(server_default=text("0"))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(server_default=text("5"))
    crash_count: Mapped[int] = mapped_column(server_default=text("0"))
    run_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime | None]
    ticket_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    timeout_ms: Mapped[int]
    worker_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    error: Mapped[Any | None] = mapped_column(Json)
    schedule_id: Mapped[UUID | None]
    fire_at: Mapped[datetime | None]
    created_by: Mapped[str | None]
    cancel_requested_at: Mapped[datetime | None]
    unique_key: Mapped[str | None] = mapped_column(sort_order=910)
    unique_while: Mapped[str | None] = mapped_column(sort_order=911)
    concurrency_key: Mapped[str | None] = mapped_column(sort_order=912)
    fairness_key: Mapped[str | None] = mapped_column(sort_order=918)
    sequence_key: Mapped[str | None] = mapped_column(sort_order=914)
    sequence_no: Mapped[int | None] = mapped_column(BigInteger, sort_order=915)
    sequence_stop: Mapped[bool | None] = mapped_column(sort_order=916)


class Task(TaskColumns, Base):
    """One live task: waiting or running."""

    __tablename__ = "tasks"

    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-1)
    slot: Mapped[int | None] = mapped_column(SmallInteger, sort_order=913)
    followed: Mapped[bool | None] = mapped_column(sort_order=917)

    __table_args__ = (
        CheckConstraint(_one_of("state", LIVE), name="state"),
        # 审计：按票据时间找丢票
        Index("tasks_available", "queue", "priority", "ticket_at", postgresql_where=text("state = 'available'")),
        # stager：无票的行，按 id 次序补票；被上限挡着的不归它
        # 旧程序的 stager 用的，它们都换掉之后的下一版再删
        Index(
            "tasks_unticketed", "queue", "priority", "id", postgresql_where=text("state = 'available' and ticket_at is null")
        ),
        Index("tasks_ticketless", "queue", "priority", "id", postgresql_where=text(TICKETLESS)),
        # 放行者：被挡着的按次序，占着空位的数一数；没有上限的队列里一行也没有
        Index("tasks_slots", "queue", "slot", "priority", "id", postgresql_where=text(SLOTTED)),
        Index(
            "tasks_slots_by_key", "queue", "concurrency_key", "slot", "priority", "id", postgresql_where=text(SLOTTED_KEY)
        ),
        # 下一个轮到哪个公平键；没有这种键的任务不在其中
        Index(
            "tasks_fair",
            text(FAIR_STATE),
            text(FAIR_SLOT),
            "queue",
            "priority",
            "fairness_key",
            "id",
            postgresql_where=text(FAIR),
        ),
        # 序列里下一个轮到谁
        Index("tasks_sequence", "sequence_key", "sequence_no", postgresql_where=text(SEQUENCED)),
        # stager：到期的行
        Index("tasks_due", "run_at", postgresql_where=text("state in ('scheduled', 'retryable')")),
        Index("tasks_running", "worker_id", postgresql_where=text("state = 'running'")),
        # 键被占着的期间：live 直到结束，waiting 直到第一次被领取
        Index("tasks_unique", "unique_key", unique=True, postgresql_where=text(UNIQUE_HELD)),
        # 列表；运行中的不在后三个里，领取的时候什么也不多写
        _by_tag("tasks_tags"),
        _by_schedule("tasks_schedule"),
        _by_time("tasks_times", "created_at"),
        Index("tasks_blocked", "id", postgresql_where=text("state = 'blocked'")),
        Index("tasks_started", "started_at", postgresql_where=text(f"started_at is not null and {NOT_RUNNING}")),
        Index("tasks_queue", "queue", "id", postgresql_where=text(NOT_RUNNING)),
        Index("tasks_kind", "kind", "id", postgresql_where=text(NOT_RUNNING)),
        Index("tasks_expiring", "expires_at", postgresql_where=text("expires_at is not null and state <> 'running'")),
    )


class TaskHistory(TaskColumns, Base):
    """One final task, partitioned by the UTC day of `finished_at`."""

    __tablename__ = "task_history"

    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-1)
    result: Mapped[Any | None] = mapped_column(Json, sort_order=902)
    finished_at: Mapped[datetime] = mapped_column(primary_key=True, sort_order=903)

    __table_args__ = (
        CheckConstraint(_one_of("state", FINAL), name="state"),
        Index("task_history_queue", "queue", "id"),
        Index("task_history_kind", "kind", "id"),
        Index("task_history_failed", "state", "id", postgresql_where=text("state <> 'completed'")),
        _by_tag("task_history_tags"),
        _by_schedule("task_history_schedule"),
        _by_time("task_history_times", "created_at", "started_at", "finished_at"),
        {"postgresql_partition_by": "RANGE (finished_at)"},
    )
