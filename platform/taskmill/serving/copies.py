"""Several copies of one role on one listening socket: a parent that starts them, watches their beats and ends with them.

The parent binds the socket, so that a port is taken once and an address that cannot be bound is told once; the kernel gives
each new connection to a copy that accepts. A copy that ends or falls silent is started again, the others go on meanwhile.
Copies end with the parent, even if it was killed: they hold the reading end of a pipe that only it can write.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from taskmill.log import get_logger
from taskmill.serving import constants as c

log = get_logger(__name__)
ALIVE: Final = b"."
REFUSED: Final = b"!"  # 数据库不再认它的密码：只有换了环境再起才有用


class Inherited(NamedTuple):
    """Descriptors that a copy has from its parent: the listening socket, where it writes its beats, what closes with the parent."""

    listener: int
    beats: int
    life: int

    def __str__(self) -> str:
        return ",".join(map(str, self))

    @classmethod
    def of(cls, text: str) -> Inherited:
        """Return what a parent wrote on the command line; ValueError for anything else."""
        listener, beats, life = map(int, text.split(","))
        return cls(listener, beats, life)


class Copy:
    """One process; `beat_at` None until it serves."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.began = time.monotonic()
        self.beat_at: float | None = None
        self.refused = False

    @property
    def silent_s(self) -> float:
        """Return for how long nothing has been heard of it."""
        return time.monotonic() - (self.beat_at or self.began)

    def heard(self, told: bytes) -> None:
        """Take in what it wrote."""
        self.beat_at = time.monotonic()
        self.refused = told[-1:] == REFUSED

    def end(self) -> None:
        """Ask it to end; a second time: at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)


class Copies:
    """Keeps `count` processes of `command` on `listener`; each gets `--inherited` with its descriptors.

    A copy that does not serve after `start_s` or is silent for COPY_SILENT_S is killed, and started again like one that ended.
    """

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        listener: socket.socket,
        *,
        start_s: float = c.COPY_START_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._count, self._command = count, command
        self._listener, self._start_s, self._environment = listener, start_s, environment
        self._served = False
        self.copies: dict[int, Copy] = {}
        self._life, self._life_end = os.pipe()
        self._stop = asyncio.Event()
        self._code = 0

    async def run(self, stop: asyncio.Event, now: asyncio.Event) -> int:
        """Keep them until `stop`, then wait for their end; returns 0, or with which code one ended that never came to serve."""
        keepers = [asyncio.create_task(self._keep(0, first := asyncio.Event()))]
        try:
            await _first(first, stop, self._stop)  # 配置错了，只说一遍
            if not (stop.is_set() or self._stop.is_set()):
                keepers += [asyncio.create_task(self._keep(number, asyncio.Event())) for number in range(1, self._count)]
            await _first(stop, self._stop)
            self._stop.set()
            self._end_all()
            hurrying = asyncio.create_task(self._hurry(now))
            await asyncio.gather(*keepers)
            hurrying.cancel()
        finally:
            for keeper in keepers:
                keeper.cancel()
            os.close(self._life_end)
            os.close(self._life)
        return self._code

    def _end_all(self) -> None:
        for copy in self.copies.values():
            copy.end()

    async def _hurry(self, now: asyncio.Event) -> None:
        await now.wait()
        self._end_all()

    async def _keep(self, number: int, serving: asyncio.Event) -> None:
        rest = c.COPY_REST_S
        while not self._stop.is_set():
            copy = self.copies[number] = Copy(number)
            code = await self._live(copy, serving)
            if self._stop.is_set():
                return
            if not self._served:
                self._code = code or 1
                self._stop.set()
                return
            rest = c.COPY_REST_S if time.monotonic() - copy.began > c.COPY_SETTLED_S else min(rest * 2, c.COPY_REST_MAX_S)
            log.warning("一个进程结束了，再起一个", copy=number, exit_code=code, rest_s=rest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), rest)

    async def _live(self, copy: Copy, serving: asyncio.Event) -> int:
        """从起到终；返回退出码。"""
        loop = asyncio.get_running_loop()
        beats, beats_end = os.pipe()
        os.set_blocking(beats, False)
        inherited = Inherited(self._listener.fileno(), beats_end, self._life)

        def heard() -> None:
            if told := os.read(beats, c.COPY_BEATS_BYTES):
                copy.heard(told)
                self._served = True
                serving.set()
            else:
                loop.remove_reader(beats)

        try:
            loop.add_reader(beats, heard)
            copy.process = await asyncio.create_subprocess_exec(
                *self._command, "--inherited", str(inherited),
                env=self._environment, pass_fds=inherited, start_new_session=True,  # 终端的 Ctrl-C 只由父进程转告
            )  # fmt: skip
            if self._stop.is_set():
                copy.end()
            os.close(beats_end)
            beats_end = -1
            return await self._watched(copy, copy.process)
        finally:
            loop.remove_reader(beats)
            os.close(beats)
            if beats_end >= 0:
                os.close(beats_end)

    async def _watched(self, copy: Copy, process: asyncio.subprocess.Process) -> int:
        while True:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(process.wait(), c.COPY_LOOK_S)
            limit = self._start_s if copy.beat_at is None else c.COPY_SILENT_S
            if copy.silent_s > limit and not self._stop.is_set():
                log.error("一个进程没有动静，结束它", copy=copy.number, pid=process.pid, silent_s=round(copy.silent_s))
                process.kill()


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
