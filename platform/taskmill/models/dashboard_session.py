"""Sessions of the dashboard: only the SHA-256 of a token is stored."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class DashboardSession(Base):
    """One log-in. `key_id` null: that of the development token, good on the machine of the process only."""

    __tablename__ = "dashboard_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    key_id: Mapped[UUID | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("dashboard_sessions_token", "token_hash", unique=True),
        Index("dashboard_sessions_key", "key_id"),
    )
