"""Who may read the schema: one row per chain of migrations."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class SchemaInfo(Base):
    """`min_reader`: programs whose newest revision is at least this one work with the schema as it is."""

    __tablename__ = "schema_info"

    chain: Mapped[str] = mapped_column(primary_key=True)
    min_reader: Mapped[str]
