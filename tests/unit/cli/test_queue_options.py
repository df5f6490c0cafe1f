"""The options of `taskmill queue set`, and the change they become."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.cli.queue_options import changes, columns
from taskmill.errors import Code, InputError


@pytest.mark.parametrize(
    ("given", "change"),
    [
        ({}, {}),
        ({"retention": None, "rate": None}, {}),
        ({"retention": "7d"}, {"retention_s": 604_800}),
        ({"retention": "default"}, {"retention_s": None}),
        ({"max_running": "5", "max_backlog": "none"}, {"max_running": 5, "max_backlog": None}),
        ({"rate": "100/1m"}, {"rate": {"limit": 100, "period_s": 60.0}}),
        ({"rate": "100/1m/20"}, {"rate": {"limit": 100, "period_s": 60.0, "burst": 20}}),
    ],
    ids=str,
)
def test_options_become_fields(given: dict[str, Any], change: dict[str, Any]) -> None:
    assert changes(given) == change


@pytest.mark.parametrize(
    "given", [{"max_running": "many"}, {"rate": "100"}, {"rate": "x/1m"}, {"rate": "1/1m/x"}, {"rate": "1/soon"}]
)
def test_what_is_none_is_wrong_usage(given: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        changes(given)
    assert caught.value.code is Code.USAGE


def test_what_was_just_set_is_shown_as_it_is_typed_and_the_rest_in_wide_tables() -> None:
    item = {"max_running": 20, "rate": {"limit": 100, "period_s": 90.5, "burst": 20}, "max_backlog": None}
    shown = {column.path: column.text(item) for column in columns(wide=False, given={"rate", "max_backlog"})}
    assert shown == {"retention_s": "-", "rate": "100/90.5s/20", "max_backlog": "-"}
    wide = {column.path: column.text(item) for column in columns(wide=True, given={"rate", "max_backlog"})}
    assert wide == {"max_running": "20", "max_running_per_key": "-", "rate_per_key": "-"}
    assert changes({"rate": shown["rate"]})["rate"] == item["rate"]
