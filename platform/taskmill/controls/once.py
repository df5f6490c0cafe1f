"""A request that shall be done once, however often it is sent: what an Idempotency-Key says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Once:
    """Whose request it is, its key, and the SHA-256 of what it asks for."""

    owner: str
    key: str
    request: bytes
