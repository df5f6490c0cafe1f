"""Whose turn it was last in a queue and priority whose tasks have fairness keys."""

from __future__ import annotations

from sqlalchemy import SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class FairnessTurn(Base):
    """One row for each queue and priority: the key that was served last; the next one in the circle of keys is after it."""

    __tablename__ = "fairness_turns"

    queue: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    key: Mapped[str]
