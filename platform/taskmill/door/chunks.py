"""Iterables of any sort, by the chunk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sized
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def total(items: object) -> int | None:
    """Return how many there are, None if they do not say."""
    return len(items) if isinstance(items, Sized) else None


def sliced(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size`, the last one shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


async def chunks(items: Iterable[T] | AsyncIterable[T], size: int) -> AsyncGenerator[list[T], None]:
    """Yield lists of `size`, the last one shorter."""
    if isinstance(items, Iterable):
        for part in sliced(items, size):
            yield part
        return
    part: list[T] = []
    async for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
