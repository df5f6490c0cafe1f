"""The bounds of delays and moments: the same for a submit and for what a handler asks for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from taskmill import constants as c
from taskmill import reasons
from taskmill.words import Words


def bad_delay(value: Any) -> Words | None:
    """Return why `value` cannot be a delay in seconds, None if it can; NaN and Infinity cannot."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return reasons.NOT_SECONDS(value=repr(value)[: c.NAME_MAX_CHARS])
    if not 0 <= value <= c.DELAY_MAX_S:
        return reasons.WITHIN(low=0, high=f"{c.DELAY_MAX_S:.0f}")
    return None


def bad_moment(value: Any) -> Words | None:
    """Return why `value` cannot be stored as a moment and read again, None if it can."""
    if not isinstance(value, datetime):
        return reasons.NOT_A_TIME(value=repr(value)[: c.NAME_MAX_CHARS])
    low, high = c.TIME_YEARS
    if not low <= value.year <= high:
        return reasons.YEAR_WITHIN(low=low, high=high)
    return None
