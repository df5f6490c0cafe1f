"""Iterables by the chunk: nothing is taken before it is wanted, nothing is lost, the order stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.door.chunks import chunks, sliced, total

pytestmark = pytest.mark.anyio


@given(items=st.lists(st.integers(), max_size=50), size=st.integers(1, 7))
def test_no_item_is_lost_and_only_the_last_chunk_is_short(items: list[int], size: int) -> None:
    parts = list(sliced(items, size))
    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(parts)


async def _counted(count: int, taken: list[int]) -> AsyncIterator[int]:
    for item in range(count):
        taken.append(item)
        yield item


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
async def test_an_asynchronous_one_gives_the_same(count: int) -> None:
    assert [part async for part in chunks(_counted(count, []), 2)] == list(sliced(range(count), 2))


async def test_nothing_is_taken_before_it_is_wanted() -> None:
    taken: list[int] = []
    parts = chunks(_counted(10, taken), 3)
    assert await anext(parts) == [0, 1, 2]
    assert taken == [0, 1, 2]
    await parts.aclose()


def _generated() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("items", "count"), [([1, 2], 2), (range(3), 3), (_generated(), None)], ids=["list", "range", "generator"]
)
def test_how_many_there_are_is_asked_not_counted(items: object, count: int | None) -> None:
    assert total(items) == count
