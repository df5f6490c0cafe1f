"""The helper that all asynchronous tests lean on."""

from __future__ import annotations

import itertools

import pytest

from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_the_first_true_value_is_returned() -> None:
    values = iter([0, None, "", "ready"])
    assert await eventually(lambda: next(values), poll=0) == "ready"


async def test_async_predicates_are_awaited() -> None:
    counter = itertools.count()

    async def predicate() -> bool:
        return next(counter) >= 2

    assert await eventually(predicate, poll=0) is True


async def test_the_failure_names_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"three tasks; last value: \[\]"):
        await eventually(list[int], timeout=0.02, poll=0, why="three tasks")
