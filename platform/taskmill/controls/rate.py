"""Rates: how many tasks may start in a time, as a token bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from taskmill import bounds
from taskmill.words import Words

PERIOD_S: Final = bounds.Range(0, 31 * 86_400.0, above=True)
BOUNDS: Final[Mapping[str, bounds.Range]] = {
    "limit": bounds.LIMIT,
    "period_s": PERIOD_S,
    "burst": bounds.LIMIT,
}


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limit` starts in `period_s` seconds, at most `burst` at once (default: as many as the limit)."""

    limit: Annotated[int, bounds.LIMIT.meta()]
    period_s: Annotated[float, PERIOD_S.meta()]
    burst: Annotated[int, bounds.LIMIT.meta()] | None = None

    @property
    def per_s(self) -> float:
        """Return tokens per second."""
        return self.limit / self.period_s

    @property
    def most(self) -> int:
        """Return how many start at once at most: what the bucket holds."""
        return self.burst or self.limit

    def refusal(self) -> tuple[str, Words] | None:
        """Return the field that does not fit and why, None if all do."""
        for name, bound in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and (reason := bound.refusal(value)) is not None:
                return name, reason
        return None

    def whole(self) -> Rate:
        """Return the rate with its burst told."""
        return Rate(limit=self.limit, period_s=self.period_s, burst=self.most)
