"""Token buckets of queues with a rate."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class RateBucket(Base):
    """How many starts a queue had left `at` that time; it fills from then on."""

    __tablename__ = "rate_buckets"

    queue: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[float]
    at: Mapped[datetime]
