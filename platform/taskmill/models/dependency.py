"""Which task waits for which."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class TaskDependency(Base):
    """A task waits for another; gone once that one has ended. `armed`: that one knows, its `followed` is set."""

    __tablename__ = "task_dependencies"

    child_id: Mapped[UUID] = mapped_column(primary_key=True)
    parent_id: Mapped[UUID] = mapped_column(primary_key=True)
    on_failure: Mapped[str]
    armed: Mapped[bool]

    __table_args__ = (
        CheckConstraint("on_failure in ('cancel', 'run')", name="on_failure"),
        Index("task_dependencies_parent", "parent_id", "child_id"),
        Index("task_dependencies_fresh", "child_id", postgresql_where=text("not armed")),
    )


class EndedParent(Base):
    """A task that has ended and for which too many wait to be let go in one transaction."""

    __tablename__ = "ended_parents"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str]
