"""Attempts that did not complete: what happened, where and why."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class TaskAttempt(Base):
    """One attempt, keyed by the fence (task_id, claim_no). Attempts that complete leave no row.

    `fingerprint`: the group of failures that it belongs to; null where it is nobody's failure.
    `message_zh`: `message` in Chinese, where its author gave both: the platform, or a handler by `Words`.
    """

    __tablename__ = "task_attempts"

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    claim_no: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    cause: Mapped[str]
    error_type: Mapped[str | None]
    message: Mapped[str | None]
    message_zh: Mapped[str | None]
    traceback: Mapped[str | None]
    worker_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime]
    fingerprint: Mapped[str | None]

    __table_args__ = (
        Index("task_attempts_finished", "finished_at"),
        Index("task_attempts_group", "fingerprint", "finished_at", postgresql_where=text("fingerprint is not null")),
    )
