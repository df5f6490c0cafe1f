"""What leading means: first every database is got to know, only then is anything done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Leadership:
    """`begin` gets to know everybody; `token` returns the fencing token while the lease is held, else None.

    While nobody is known yet, whoever comes first would believe to have a database for itself.
    """

    def __init__(self, begin: Callable[[], Awaitable[None]], token: Callable[[], int | None]) -> None:
        self._begin, self._token = begin, token
        self._beginning: asyncio.Task[None] | None = None
        self._ready = False

    @property
    def elected(self) -> bool:
        """Say whether we were chosen, also while a renewal is late."""
        return self._beginning is not None

    @property
    def acts(self) -> bool:
        """Say whether we may change anything now."""
        return self._ready and self._token() is not None

    def lead(self, leading: bool) -> None:  # noqa: FBT001 - 租约的回调
        """Begin to lead, or cease; who leads again gets to know everybody anew."""
        self._ready = False
        if self._beginning is not None:
            self._beginning.cancel()
            self._beginning = None
        if leading:
            self._beginning = asyncio.create_task(self._start())

    async def _start(self) -> None:
        await self._begin()
        self._ready = True
