"""Schedules and the fires they had."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base, Json, Timestamps


class Schedule(Timestamps, Base):
    """One timetable: a cron expression or an interval, in a time zone."""

    __tablename__ = "schedules"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    source: Mapped[str] = mapped_column(server_default=text("'api'"))
    kind: Mapped[str]
    args: Mapped[Any] = mapped_column(Json)
    queue: Mapped[str | None]
    priority: Mapped[int | None] = mapped_column(SmallInteger)
    cron: Mapped[str | None]
    interval_s: Mapped[float | None]
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    catch_up_s: Mapped[float]
    paused_at: Mapped[datetime | None]
    next_fire_at: Mapped[datetime | None]
    last_fire_at: Mapped[datetime | None]
    last_task_id: Mapped[UUID | None]
    missed_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]
    created_by: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("(cron is null) <> (interval_s is null)", name="timetable"),
        Index("schedules_name", "name", unique=True),
        Index("schedules_due", "next_fire_at", postgresql_where=text("paused_at is null")),
    )


class ScheduleFire(Base):
    """One fire; the key makes a second one at the same time impossible."""

    __tablename__ = "schedule_fires"

    schedule_id: Mapped[UUID] = mapped_column(primary_key=True)
    fire_at: Mapped[datetime] = mapped_column(primary_key=True)
    task_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (Index("schedule_fires_created", "created_at"),)
