"""Which known name somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from taskmill import reasons
from taskmill.words import Words


def did_you_mean(name: str, known: Iterable[str]) -> Words | str:
    """Return the question whether one of `known` was meant, or an empty text if none is close."""
    names = close_to(name, known)
    return reasons.DID_YOU_MEAN(names=names) if names else ""


def close_to(name: str, known: Iterable[str]) -> str:
    """Return those of `known` that are like `name`, an empty text if none is."""
    return ", ".join(difflib.get_close_matches(name, list(known)))
