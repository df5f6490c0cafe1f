"""Failures by fingerprint: attempts that failed in the same way."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class Failure(Base):
    """One group of a kind; `error_type`, `message` and `frame` empty: what came when the kind had too many groups.

    `message` is normalised, `queues` are some where it happened, `task_ids` the newest tasks first.
    """

    __tablename__ = "failures"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    error_type: Mapped[str]
    message: Mapped[str]
    frame: Mapped[str]
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    n: Mapped[int] = mapped_column(BigInteger)
    task_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))

    __table_args__ = (
        Index("failures_last", "last_at", "fingerprint"),
        Index("failures_kind", "kind", "last_at", "fingerprint"),
    )
