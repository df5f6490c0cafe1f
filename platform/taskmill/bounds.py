"""The ranges of what clients, plugins and handlers give, for the check and for the API's description: each stands once.

Here are those that several declarations share; what only one has stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.words import Words


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` (itself excluded if `above`) to `high`; NaN and Infinity are never within."""

    low: float
    high: float
    above: bool = False

    def refusal(self, value: float) -> Words | None:
        """Return why `value` is outside, None if it is within."""
        if (self.low < value if self.above else self.low <= value) and value <= self.high:
            return None
        if self.above:
            return reasons.ABOVE_ZERO(limit=f"{self.high:.0f}")
        return reasons.WITHIN(low=f"{self.low:.0f}", high=f"{self.high:.0f}")

    def meta(self, description: str | None = None) -> msgspec.Meta:
        """Return what the API's description says; the check itself is `refusal`, whose words name field and reason."""
        low = "exclusiveMinimum" if self.above else "minimum"
        return msgspec.Meta(description=description, extra_json_schema={low: self.low, "maximum": self.high})


VERSION: Final = Range(1, c.VERSION_MAX)
PRIORITY: Final = Range(min(c.PRIORITIES), max(c.PRIORITIES))
ATTEMPTS: Final = Range(1, c.MAX_ATTEMPTS_LIMIT)
TIMEOUT_S: Final = Range(0, c.TIMEOUT_MAX_S, above=True)
DELAY_S: Final = Range(0, c.DELAY_MAX_S)
INTERVAL_S: Final = Range(c.INTERVAL_MIN_S, c.DELAY_MAX_S)
CATCH_UP_S: Final = Range(0, c.CATCH_UP_MAX_S)
LIMIT: Final = Range(1, c.LIMIT_MAX)


def bad_delay(value: Any) -> Words | None:
    """Return why `value` cannot be a delay in seconds, None if it can; NaN and Infinity cannot."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return reasons.NOT_SECONDS(value=repr(value)[: c.NAME_MAX_CHARS])
    return DELAY_S.refusal(value)


def bad_moment(value: Any) -> Words | None:
    """Return why `value` cannot be stored as a moment and read again, None if it can."""
    if not isinstance(value, datetime):
        return reasons.NOT_A_TIME(value=repr(value)[: c.NAME_MAX_CHARS])
    low, high = c.TIME_YEARS
    if not low <= value.year <= high:
        return reasons.YEAR_WITHIN(low=low, high=high)
    return None
