"""Sequences: who drew the last number, whose turn it is, and what stops one."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class SequenceKey(Base):
    """One sequence; a submit locks its row until it has committed, so numbers are in the order of commits. `fresh`: somebody is new."""

    __tablename__ = "sequences"

    key: Mapped[str] = mapped_column(primary_key=True)
    last_no: Mapped[int] = mapped_column(BigInteger)
    fresh: Mapped[bool]

    __table_args__ = (Index("sequences_fresh", "key", postgresql_where=text("fresh")),)


class SequenceTurn(Base):
    """The task whose turn it is: the `head`. Only short transactions lock this row; there is none where nobody waits. Null: to be looked at again."""

    __tablename__ = "sequence_turns"

    key: Mapped[str] = mapped_column(primary_key=True)
    head: Mapped[UUID | None]

    __table_args__ = (Index("sequence_turns_waiting", "key", postgresql_where=text("head is null")),)


class SequenceStop(Base):
    """A failed task that keeps those behind its number waiting until it is retried or skipped."""

    __tablename__ = "sequence_stops"

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str]
    no: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (Index("sequence_stops_key", "key", "no"),)
