"""After which tasks a task comes: its sequence, and those it depends on."""

from __future__ import annotations

from typing import Literal

from taskmill import reasons
from taskmill.controls.unique import bad_key
from taskmill.words import Words

OnSequenceFailure = Literal["continue", "stop"]
OnParentFailure = Literal["cancel", "run"]


def bad_order(
    key: str | None,
    on_sequence_failure: str | None,
    parents: int,
    on_parent_failure: str | None,
) -> tuple[str, Words] | None:
    """Return the field that does not fit and why, None if all do; `parents`: how many."""
    if key is None and on_sequence_failure is None and on_parent_failure is None:
        return None
    if key is not None and (reason := bad_key(key)) is not None:
        return "sequence_key", reason
    if on_sequence_failure is not None and key is None:
        return "sequence_on_failure", reasons.ONLY_WITH(field="sequence_key")
    if on_parent_failure is not None and not parents:
        return "on_parent_failure", reasons.ONLY_WITH(field="depends_on")
    for name, word, words in (
        ("sequence_on_failure", on_sequence_failure, OnSequenceFailure),
        ("on_parent_failure", on_parent_failure, OnParentFailure),
    ):
        if word is not None and word not in words.__args__:  # 在 Python 里造的，没有人替它查过
            return name, reasons.NONE_OF(value=repr(word), names=", ".join(words.__args__))
    return None
