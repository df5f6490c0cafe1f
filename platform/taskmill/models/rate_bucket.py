"""Token buckets of queues with a rate, and of their keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class RateBucket(Base):
    """How many starts a queue had left `at` that time; it fills from then on, up to `ceiling` (null: a burst)."""

    __tablename__ = "rate_buckets"

    queue: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[float]
    at: Mapped[datetime]
    ceiling: Mapped[float | None]


class KeyRateBucket(Base):
    """The same for one concurrency key of a queue with a rate per key; there is none where it would be full."""

    __tablename__ = "key_rate_buckets"

    queue: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[float]
    at: Mapped[datetime]
    ceiling: Mapped[float | None]
