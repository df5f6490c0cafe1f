"""Queues: a name, whether it is paused, how long its history is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Computed, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base, Json, Timestamps

# 每个上限一列：管整个队列的，与管每个 concurrency_key 的；两个让人等得一样久时，说排在前面的
QUEUE_LIMITS = ("rate", "max_running")
KEY_LIMITS = ("rate_per_key", "max_running_per_key")
LIMITS = QUEUE_LIMITS + KEY_LIMITS
RECOUNTED = "max_running_per_key"  # 轮到队列时按键再数一遍的；别的按键的上限一设，等着的就先退回去按键排


def _any(limits: Iterable[str]) -> str:
    return " or ".join(f"{limit} is not null" for limit in sorted(limits))


BARRED = "paused_at is not null or limited"
LIMITED = _any(LIMITS)
# 被上限挡着的；轮到公平键才走的（3），只有队列自己有上限时才是被上限挡着，没有时多开工作进程就走得快
HELD_BY_LIMITS = f"""(slot in (0, 1) or slot = 3 and queue = any (
  array(select name from taskmill.queues where {_any(QUEUE_LIMITS)})))"""  # noqa: S608 - 只有常量
KEYED = f"({_any(KEY_LIMITS)})"  # 任务先按键排队


class TaskQueue(Timestamps, Base):
    """One queue; the row appears with its first task. `retention_s` null: the platform's; 0: keep nothing. Limits null: none."""

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    retention_s: Mapped[int | None]
    max_running: Mapped[int | None]
    max_running_per_key: Mapped[int | None]
    rate: Mapped[Any | None] = mapped_column(Json)
    rate_per_key: Mapped[Any | None] = mapped_column(Json)
    max_backlog: Mapped[int | None]
    limited: Mapped[bool] = mapped_column(Computed(LIMITED, persisted=True))

    __table_args__ = (
        Index("queues_unretained", "name", postgresql_where=text("retention_s = 0")),
        # 领取时要问的只是这些，多半一个也没有：统计信息取自空表时，规划器会为每个任务把整个索引走一遍
        Index("queues_barred", "name", postgresql_where=text(BARRED)),
    )
