"""What a log line says of a server's refusal: the class and the server's own words, without passwords."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis.exceptions import ReadOnlyError, ResponseError

import taskmill
from taskmill.stores.why import why

SOURCE = Path(taskmill.__file__).parent


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ResponseError("DENIED Redis is running in protected mode"),
            "ResponseError: DENIED Redis is running in protected mode",
        ),
        (
            ReadOnlyError("You can't write against a read only replica."),
            "ReadOnlyError: You can't write against a read only replica.",
        ),
        (TimeoutError(), "TimeoutError"),
        (OSError("two\nlines"), "OSError: two lines"),
        (ValueError("cannot use postgresql://me:s3cret@db/x"), "ValueError: cannot use postgresql://me:***@db/x"),
        (ValueError("bad dsn password=s3cret host=db"), "ValueError: bad dsn password=*** host=db"),
    ],
)
def test_the_class_and_the_words_without_passwords(error: Exception, words: str) -> None:
    assert why(error) == words


def test_no_log_line_shows_a_bare_repr_of_an_error() -> None:
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\b(error|reason)=repr\((error|other|raised)\)", line) and "log." in line
    ]
    assert found == []
