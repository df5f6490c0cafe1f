"""Which known name somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from taskmill import reasons
from taskmill.words import Words


def did_you_mean(name: str, known: Iterable[str]) -> Words | str:
    """Return the question whether one of `known` was meant, or an empty text if none is close."""
    close = difflib.get_close_matches(name, list(known))
    return reasons.DID_YOU_MEAN(names=", ".join(close)) if close else ""
