"""Kinds of tasks that plugins have registered, so that the API needs no plugin to check args."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base, Json


class Kind(Base):
    """One version of one kind with its defaults and schemas."""

    __tablename__ = "kinds"

    kind: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    plugin: Mapped[str]
    plugin_version: Mapped[str]
    summary: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    max_attempts: Mapped[int]
    timeout_ms: Mapped[int]
    executor: Mapped[str]
    args_schema: Mapped[Any] = mapped_column(Json)
    result_schema: Mapped[Any | None] = mapped_column(Json)
    seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    on_oom_queue: Mapped[str | None]
    controls: Mapped[Any] = mapped_column(Json, server_default=text("'{}'"))
