"""How errors leave the door: the author of a program sees a traceback, not an answer of REST."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from taskmill.errors import TaskmillError
from taskmill.words import Words, said


@contextmanager
def told(before: int | None = None) -> Iterator[None]:
    """Let the traceback of an error end with its hint.

    `index` in its details counts after `before` others; None: a single submit, which has no index.
    """
    try:
        yield
    except TaskmillError as error:
        index = int(error.details.pop("index", 0))
        if before is not None:
            error.details["index"] = before + index
        if (hint := error.hint()) is not None:
            error.add_note(said(Words(zh=f"提示：{hint['zh']}", en=f"hint: {hint['en']}")))
        raise
