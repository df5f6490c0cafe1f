"""The side of a copy: it beats as long as its event loop comes round, and ends when its parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from taskmill.log import get_logger
from taskmill.serving import constants as c
from taskmill.serving.copies import ALIVE, REFUSED, Inherited

log = get_logger(__name__)


def listener_of(inherited: Inherited) -> socket.socket:
    """Return the listening socket that the parent has bound."""
    listener = socket.socket(fileno=inherited.listener)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def beating(
    inherited: Inherited, serving: asyncio.Event, stop: asyncio.Event, refused: Callable[[], bool]
) -> AsyncIterator[None]:
    """Beat during the block, from `serving` on; sets `stop` when the parent is gone."""
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(inherited.life)
        log.warning("父进程没了，停下")
        stop.set()

    os.set_blocking(inherited.beats, False)
    loop.add_reader(inherited.life, orphaned)
    task = asyncio.create_task(_beat(inherited.beats, serving, refused))
    try:
        yield
    finally:
        task.cancel()
        loop.remove_reader(inherited.life)


async def _beat(beats: int, serving: asyncio.Event, refused: Callable[[], bool]) -> None:
    await serving.wait()
    while True:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # 没人读：父进程忙着或没了，由 life 得知
            os.write(beats, REFUSED if refused() else ALIVE)
        await asyncio.sleep(c.COPY_BEAT_S)
