"""Queues: a name, whether it is paused, how long its history is kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base, Timestamps


class TaskQueue(Timestamps, Base):
    """One queue; the row appears with its first task. `retention_s` null: the platform's; 0: keep nothing."""

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    retention_s: Mapped[int | None]

    __table_args__ = (Index("queues_unretained", "name", postgresql_where=text("retention_s = 0")),)
