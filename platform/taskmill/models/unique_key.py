"""Keys that are held beyond the end of their task."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class UniqueKey(Base):
    """A key that the task `task_id` holds `until` then, whether it has ended or not; later it may be taken again."""

    __tablename__ = "unique_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[UUID]
    until: Mapped[datetime]

    __table_args__ = (Index("unique_keys_until", "until"),)
