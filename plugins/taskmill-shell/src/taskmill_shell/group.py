"""One command in a process group of its own: started, fed, read with a cap, and ended as a whole.

The leader is reaped only after its group was killed, so the group's number cannot belong to anybody else by then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import StreamReader
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from taskmill_shell import config as limits

_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(slots=True)
class Capture:
    """The first `limit` bytes of a stream; the rest is read and dropped so that the command never blocks."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, chunk: bytes) -> None:
        """Keep what still fits."""
        room = self.limit - len(self.data)
        self.data += chunk[:room]
        self.truncated = self.truncated or len(chunk) > room

    @property
    def text(self) -> str:
        """Return the bytes as text; what is not UTF-8, and NUL, becomes U+FFFD."""
        return self.data.decode(errors="replace").replace("\x00", "\ufffd")


class ProcessGroup:
    """A running command. Linux only (pidfd, prctl)."""

    def __init__(self, process: subprocess.Popen[bytes], grace_s: float) -> None:
        self._process = process
        self._grace_s = grace_s
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._exited.set)

    @classmethod
    def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, memory_bytes: int, grace_s: float
    ) -> ProcessGroup:
        """Start `argv` through the launcher; OSError if that fails."""
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(memory_bytes), str(os.getpid())]
        process = subprocess.Popen(  # noqa: S603 - 不经过 shell，允许名单由调用者检查过
            [*launcher, *argv], env=dict(env), cwd=cwd, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        return cls(process, grace_s)

    async def communicate(self, stdin: bytes, stdout: Capture, stderr: Capture) -> int:
        """Feed and read until the leader exits; return its exit code. Whatever happens, the whole group is gone."""
        streams = [
            asyncio.ensure_future(_feed(cast("BinaryIO", self._process.stdin), stdin)),
            asyncio.ensure_future(_drain(cast("BinaryIO", self._process.stdout), stdout)),
            asyncio.ensure_future(_drain(cast("BinaryIO", self._process.stderr), stderr)),
        ]
        try:
            await self._exited.wait()
            self._signal(signal.SIGKILL)  # 留下的后台进程不会比任务活得久
            await asyncio.wait(streams[1:], timeout=limits.DRAIN_S)
        finally:
            try:
                await self._end()
            finally:
                for stream in streams:
                    stream.cancel()
                await asyncio.gather(*streams, return_exceptions=True)
        return self._process.returncode

    async def _end(self) -> None:
        """先 TERM，宽限之后 KILL；再次被取消时立即 KILL。"""
        try:
            if not self._exited.is_set():
                self._signal(signal.SIGTERM)
                async with asyncio.timeout(self._grace_s):
                    await self._exited.wait()
        except TimeoutError:
            pass  # 宽限用完，下面强杀
        finally:
            self._signal(signal.SIGKILL)
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._process.wait()  # 已收到 KILL，立即返回

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return  # 组里已经没有进程


async def _feed(pipe: BinaryIO, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        writer.write(data)
        await writer.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # 命令不读输入，这是它的自由
    finally:
        transport.close()


async def _drain(pipe: BinaryIO, capture: Capture) -> None:
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit=limits.CHUNK_BYTES)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while chunk := await reader.read(limits.CHUNK_BYTES):
            capture.add(chunk)
    finally:
        transport.close()
