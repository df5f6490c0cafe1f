"""The options of a submit that make a task unique, and the request they become."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.cli.unique_options import unique_of
from taskmill.errors import Code, InputError

NONE: dict[str, Any] = {
    "unique": False,
    "unique_by": None,
    "unique_key": None,
    "unique_while": None,
    "unique_for": None,
    "on_duplicate": None,
    "not_unique": False,
}


@pytest.mark.parametrize(
    ("given", "request_"),
    [
        ({}, {}),
        ({"unique": True}, {"unique": {}}),
        ({"unique_by": "url, user.id"}, {"unique": {"by": ["url", "user.id"]}}),
        ({"unique_key": "k"}, {"unique_key": "k"}),
        ({"unique_key": "k", "unique": True}, {"unique": {"key": "k"}}),
        ({"unique_key": "k", "on_duplicate": "refuse"}, {"unique": {"key": "k", "on_duplicate": "refuse"}}),
        ({"unique_for": "10m", "unique_while": "waiting"}, {"unique": {"period_s": 600.0, "while": "waiting"}}),
        ({"not_unique": True}, {"unique": None}),
    ],
    ids=str,
)
def test_options_become_the_fields_of_the_request(given: dict[str, Any], request_: dict[str, Any]) -> None:
    options = NONE | given | {"queue": "q"}
    assert unique_of(options) == request_
    assert options == {"queue": "q"}


@pytest.mark.parametrize("other", [{"unique": True}, {"unique_by": "a"}, {"unique_key": "k"}, {"on_duplicate": "refuse"}])
def test_not_unique_goes_with_no_other(other: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        unique_of(NONE | other | {"not_unique": True})
    assert caught.value.code is Code.USAGE
