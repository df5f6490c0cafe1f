"""The declarative base: schema, names of constraints, and nothing that writes behind our back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from taskmill.constants import SCHEMA

NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}

metadata = MetaData(schema=SCHEMA, naming_convention=NAMES)
Json = JSONB(none_as_null=True)
Time = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Base of all tables: no foreign keys, no relationships (a contract test holds both)."""

    metadata = metadata
    type_annotation_map = {datetime: Time, str: Text, dict[str, Any]: Json}  # noqa: RUF012 - SQLAlchemy 的约定


class Timestamps:
    """`created_at` and `updated_at` by the database's clock; statements set `updated_at` themselves."""

    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"), sort_order=900)
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"), sort_order=901)
