"""One command under a launcher of its own: started, fed, read with a cap, and ended with all that descends from it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import StreamReader
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
        """Return the bytes as text; what is not UTF-8 becomes U+FFFD."""
        return self.data.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Ending:
    """How the command ended: its exit code (None: it did not), and the processes that could not be killed.

    `error` is the errno if it could not be executed.
    """

    code: int | None
    left: list[int]
    error: int = 0


class ProcessGroup:
    """A running command under its launcher. Linux only (pidfd, prctl)."""

    def __init__(self, process: subprocess.Popen[bytes], status: int, grace_s: float) -> None:
        self._process, self._status, self._grace_s = process, status, grace_s
        self.ending = Ending(code=None, left=[])
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._exited.set)

    @classmethod
    def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, memory_bytes: int, grace_s: float
    ) -> ProcessGroup:
        """Start `argv` through the launcher; OSError or ValueError if that fails."""
        status, theirs = os.pipe()
        facts = [str(fact) for fact in (theirs, os.getpid(), grace_s, memory_bytes)]
        try:
            process = subprocess.Popen(  # noqa: S603 - 不经过 shell，允许名单由调用者检查过
                [sys.executable, "-I", "-S", str(_LAUNCHER), *facts, *argv],
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs,),
            )
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(theirs)
        try:
            return cls(process, status, grace_s)
        except OSError:  # 描述符用完：没有 pidfd 就管不住它，命令随启动器一起结束
            process.kill()
            process.communicate()
            os.close(status)
            raise

    async def communicate(self, stdin: bytes, stdout: Capture, stderr: Capture) -> Ending:
        """Feed and read until the command ended; return how. Whatever happens, all that descends from it is gone."""
        streams = [
            asyncio.ensure_future(_feed(cast("BinaryIO", self._process.stdin), stdin)),
            asyncio.ensure_future(_drain(cast("BinaryIO", self._process.stdout), stdout)),
            asyncio.ensure_future(_drain(cast("BinaryIO", self._process.stderr), stderr)),
        ]
        try:
            await self._exited.wait()
            await asyncio.wait(streams[1:], timeout=limits.DRAIN_S)
        finally:
            try:
                await self._end()
            finally:
                self.ending = self._read_status()
                for stream in streams:
                    stream.cancel()
                await asyncio.gather(*streams, return_exceptions=True)
        return self.ending

    async def _end(self) -> None:
        """先 TERM，宽限之后由启动器 KILL；再次被取消时立即 KILL。"""
        try:
            if not self._exited.is_set():
                self._signal(signal.SIGTERM)
                async with asyncio.timeout(self._grace_s + limits.KILL_WAIT_S):
                    await self._exited.wait()
        except TimeoutError:
            pass  # 启动器自己没有动静，下面强杀
        except asyncio.CancelledError:
            self._signal(signal.SIGUSR1)
            raise
        finally:
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(limits.KILL_WAIT_S):
                    await self._exited.wait()
            self._signal(signal.SIGKILL)
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._process.wait()  # 启动器属于我们，已收到 KILL，立即返回

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _read_status(self) -> Ending:
        os.set_blocking(self._status, False)
        try:
            lines = os.read(self._status, limits.CHUNK_BYTES).decode().split("\n")[:-1]
        except BlockingIOError:
            lines = []
        finally:
            os.close(self._status)
        facts = [(word, int(number)) for word, _, number in (line.partition(" ") for line in lines)]
        codes, errors = ([number for word, number in facts if word == wanted] for wanted in ("code", "error"))
        left = [number for word, number in facts if word == "left"]
        return Ending(code=codes[0] if codes else None, left=left, error=errors[0] if errors else 0)


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
