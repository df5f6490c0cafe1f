"""Texts in both languages: which of them an error shows, and where."""

from __future__ import annotations

import pytest

from taskmill import reasons
from taskmill.errors import Code, Discard, Retry, SetupError
from taskmill.words import Words

WRONG = SetupError(Code.CONFIG_INVALID, field="TASKMILL_X", reason=reasons.NOT_SET)
BUSY = Words("忙", "busy")


def test_an_error_speaks_english_where_nobody_configured_logging() -> None:
    assert str(WRONG) == WRONG.words.en
    assert WRONG.words.en.startswith("CONFIG_INVALID ")


@pytest.mark.parametrize("error", [Retry(BUSY), Discard(BUSY)])
def test_a_retry_or_discard_with_words_is_still_an_exception_with_a_text(error: Retry | Discard) -> None:
    assert (str(error), error.reason) == ("busy", BUSY)
    assert str(type(error)("as before")) == "as before"
