"""Counted transitions per minute, queue, kind and outcome; summed on read."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class Rollup(Base):
    """One writer's count; outcomes are the final states plus `reopened`, `pruned` and `unretained`.

    `wait_hist`, `run_hist`: packed histograms, see stores/queues/histogram.py. Closed minutes are merged into one writer.
    """

    __tablename__ = "rollups"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(primary_key=True)
    writer: Mapped[UUID] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    wait_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    run_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    wait_hist: Mapped[Decimal] = mapped_column(Numeric, server_default=text("0"))
    run_hist: Mapped[Decimal] = mapped_column(Numeric, server_default=text("0"))

    __table_args__ = (Index("rollups_queue", "queue", "minute"),)
