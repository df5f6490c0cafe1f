"""One page of a list, and how far lists may be paged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, InputError

T = TypeVar("T")
Row = TypeVar("Row")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page. `total` is exact unless `total_capped`; with a cursor `page` and `total` are null.

    `next_cursor` is null on the last page and in lists that have no cursor.
    """

    items: list[T]
    page: int | None = 1
    page_size: int = c.PAGE_SIZE_DEFAULT
    total: int | None = None
    total_capped: bool = False
    next_cursor: str | None = None


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of every list."""

    page: Annotated[int, msgspec.Meta(ge=1, description="Page number, from 1.")] = 1
    page_size: Annotated[int, msgspec.Meta(ge=1, le=c.PAGE_SIZE_MAX, description="Items per page.")] = c.PAGE_SIZE_DEFAULT

    @property
    def offset(self) -> int:
        """Return how many items lie before this page; InputError if that is too deep for counting."""
        offset = (self.page - 1) * self.page_size
        if offset >= c.TOTAL_EXACT_MAX:
            raise InputError(Code.INVALID_REQUEST, field="page", reason=reasons.PAGE_TOO_DEEP(limit=c.TOTAL_EXACT_MAX))
        return offset


def cut(rows: Sequence[Row], paging: Paging, view: Callable[[Row], T]) -> Page[T]:
    """Return one page of a short list that is in memory."""
    chosen = rows[paging.offset : paging.offset + paging.page_size]
    return Page(items=[view(row) for row in chosen], page=paging.page, page_size=paging.page_size, total=len(rows))
