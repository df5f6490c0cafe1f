"""Identifiers: UUIDv7 (RFC 9562), made here and nowhere else (invariant 11)."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new time-ordered identifier."""
    return uuid7()
