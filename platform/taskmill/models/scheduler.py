"""Scheduler processes: one row each, kept alive by a lease; gone once the process ends in order."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class Scheduler(Base):
    """One run of one scheduler process."""

    __tablename__ = "schedulers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    hostname: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    lease_until: Mapped[datetime]
