"""How a process runs its event loop, and how it ends: the loop outlives what handlers raise, the end waits for nobody.

`SystemExit` and `KeyboardInterrupt` in a child task or a callback make asyncio leave the loop, and so does `loop.stop()`.
They belong to one attempt, so `run` goes on where the loop stopped. A `Watch` bounds the end of a role: signals come to a
thread of its own, which ends the process by force when its time is up, whatever the loop, other threads or the servers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeVar

from taskmill import constants as c
from taskmill.cli import constants as cc
from taskmill.log import get_logger

log = get_logger(__name__)
T = TypeVar("T")
EXIT_STUCK = 70  # 到了时限还没结束，被强行结束；EX_SOFTWARE
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WAKE = 0  # 管道里的这个字节不是信号，只叫看守重看时限
_LEAVE = 255  # 这个叫看守下班
_HANDLED = 128  # 加上它的信号是主线程里的处理函数写的，不加的是内核一送到就写的


def run(work: Awaitable[T], *, survive: tuple[type[BaseException], ...] = (SystemExit,)) -> T:
    """Run to the end on the event loop that production uses; `survive` are those that do not stop the loop.

    At the end tasks that still run are cancelled, and left behind if they do not end at once.
    """
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return _until_done(loop, asyncio.ensure_future(_awaited(work), loop=loop), survive)
    finally:
        _close(loop)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _until_done(loop: asyncio.AbstractEventLoop, main: asyncio.Future[T], survive: tuple[type[BaseException], ...]) -> T:
    """跑出循环的异常也许是别人的，也许恰在主协程结束时抛出：算数的只有主协程自己的结局。"""
    interrupted = False
    while not main.done():
        try:
            loop.call_soon(_listen)
            loop.run_until_complete(main)
        except BaseException as error:
            if main.done():
                break
            if isinstance(error, survive):
                _report(error)
            elif isinstance(error, KeyboardInterrupt) and not interrupted:
                interrupted = True
                main.cancel()  # Ctrl-C：让主协程收尾
            elif isinstance(error, RuntimeError) and not loop.is_closed():
                _report(error)
            else:
                raise
    if interrupted and main.cancelled():
        raise KeyboardInterrupt
    return main.result()


def _report(error: BaseException) -> None:
    """只写最后几帧：循环正停着，没有工夫写完整的栈，而反复抛出的同一个异常，栈越来越长。"""
    if isinstance(error, RuntimeError):
        log.error("有人停了事件循环，接着转", error=str(error))
        return
    where = "".join(traceback.format_tb(error.__traceback__, limit=-cc.END_LOG_FRAMES)).strip()
    log.error("有协程或回调抛出了要结束进程的异常；事件循环接着转", error=type(error).__name__, where=where)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """取消剩下的，等一小会儿；停不下来的就丢下，绝不为它们等下去。"""
    left = asyncio.all_tasks(loop)
    for task in left:
        with contextlib.suppress(BaseException):  # 它等着的对象自己的 cancel() 也会出错
            task.cancel()
    with contextlib.suppress(Exception):
        if left:
            _until_done(loop, loop.create_task(_wait(left)), (SystemExit, KeyboardInterrupt))
        _until_done(loop, loop.create_task(_bounded(loop.shutdown_asyncgens())), (SystemExit, KeyboardInterrupt))
    asyncio.set_event_loop(None)
    stubborn = [task.get_name() for task in left if not task.done()]
    if stubborn:
        log.warning("有协程不理会取消，丢下它们", count=len(stubborn))
        _leftovers.extend(left)  # 不能让它们在解释器收尾时被回收：那又要执行处理函数的代码
        return
    loop.close()


_leftovers: list[asyncio.Task[object]] = []


async def _wait(tasks: set[asyncio.Task[object]]) -> None:
    await asyncio.wait(tasks, timeout=cc.END_CANCEL_S)


async def _bounded(work: Awaitable[object]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work, cc.END_CANCEL_S)


class Watch:
    """Bounds the end of this process: `grace_s` + END_MARGIN_S after the first signal, END_HURRY_S after the second, END_HURRY_S
    after `over`. The third signal ends it in the same moment.

    `on_stop` and `on_hurry` run in the watch's thread at the first and second signal. The exit code of a forced end is that
    of `over`, EXIT_STUCK if the work was not over.
    """

    def __init__(self, grace_s: float, on_stop: Callable[[], object], on_hurry: Callable[[], object]) -> None:
        self._grace_s, self._on_stop, self._on_hurry = grace_s, on_stop, on_hurry
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._heard = 0
        self._signals = {True: 0, False: 0}  # 处理函数见到的，内核送到的
        self._loop_wakes: int | None = None
        self._deadline: float | None = None
        self._code = EXIT_STUCK
        self._before: dict[signal.Signals, Any] = {}
        self._thread = threading.Thread(target=self._main, name="watch", daemon=True)
        self._thread.start()

    def take_signals(self) -> None:
        """Take over SIGTERM and SIGINT; only in the main thread."""
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        self.listen()

    def listen(self) -> None:
        """Hear signals from whichever thread the kernel gives them to; only in the main thread, anew at each start of the loop.

        The second of two signals that come together goes to another thread than the first, and handlers run in the main
        thread alone, between two bytecodes: it may sleep in `time.sleep` or wait in C for minutes. The loop, whose pipe this
        takes, keeps hearing what comes.
        """
        wakes = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if wakes not in (-1, self._write):
            before, self._loop_wakes = self._loop_wakes, os.dup(wakes)  # 循环会关掉它自己的那个，号码随即另作他用
            if before is not None:
                os.close(before)

    def over(self, code: int) -> None:
        """Say that the work is over: what is left to do has END_HURRY_S, then the process ends with `code`."""
        self._code = code
        self._limit(cc.END_HURRY_S)
        os.write(self._write, bytes([_WAKE]))

    def dismiss(self) -> None:
        """Give the signals back and let the process go on; only in the main thread."""
        for number, before in self._before.items():
            signal.signal(number, before)
        if (wakes := signal.set_wakeup_fd(-1)) not in (-1, self._write):
            signal.set_wakeup_fd(wakes)
        os.write(self._write, bytes([_LEAVE]))
        self._thread.join()
        for end in (self._read, self._write, self._loop_wakes):
            if end is not None:
                os.close(end)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """在主线程任意两条字节码之间执行：只写管道，不碰任何锁。"""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, bytes([number | _HANDLED]))

    def _limit(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._deadline = until if self._deadline is None else min(self._deadline, until)

    def _main(self) -> None:
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            if not select.select([self._read], [], [], left)[0]:
                self._force()
            for byte in os.read(self._read, 64):
                if byte == _LEAVE:
                    return
                if byte & ~_HANDLED in SIGNALS:
                    self._count(byte & ~_HANDLED, handled=bool(byte & _HANDLED))
                if byte and not byte & _HANDLED and self._loop_wakes is not None:
                    with contextlib.suppress(OSError):  # 循环已经停了
                        os.write(self._loop_wakes, bytes([byte]))

    def _count(self, number: int, *, handled: bool) -> None:
        """同一个信号多半报来两次，也可能两边各漏一次：以报得多的一边为准。"""
        self._signals[handled] += 1
        if max(self._signals.values()) > self._heard:
            self._hear(number)

    def _hear(self, number: int) -> None:
        self._heard += 1
        if self._heard > len(SIGNALS):
            os._exit(128 + number)
        self._limit(self._grace_s + cc.END_MARGIN_S if self._heard == 1 else cc.END_HURRY_S)
        with contextlib.suppress(RuntimeError):  # 循环已经关了
            (self._on_stop if self._heard == 1 else self._on_hurry)()
        _aside(lambda: log.info("收到停止信号", signal=signal.Signals(number).name, again=self._heard > 1))

    def _force(self) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - 看别的线程停在哪只有这个办法
        where = traceback.format_stack(frame, limit=3) if frame is not None else []
        _aside(lambda: log.error("没有按时结束，强行结束", exit_code=self._code, main_thread="".join(where).strip()))
        os._exit(self._code)


def _aside(tell: Callable[[], object]) -> None:
    """日志可能堵住（主线程拿着锁、标准错误没人读），看守不能陪着等。"""
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(cc.END_LOG_S)


_watch: Watch | None = None


def _listen() -> None:
    if _watch is not None:
        _watch.listen()


def until_signal(work: Callable[[asyncio.Event, asyncio.Event], Awaitable[T]], grace_s: float = c.SHUTDOWN_GRACE_S) -> T:
    """Run `work(stop, now)` and return its result: the first SIGTERM or SIGINT sets `stop`, the second `now`, the third ends the process at once.

    The process ends `grace_s` + END_MARGIN_S after the first, and END_HURRY_S after the second, whatever hangs.
    """

    async def main() -> T:
        global _watch  # noqa: PLW0603 - 一个进程只有一个结局
        stop, now = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        _watch = Watch(grace_s, lambda: loop.call_soon_threadsafe(stop.set), lambda: loop.call_soon_threadsafe(now.set))
        _watch.take_signals()
        try:
            return await work(stop, now)
        finally:
            _watch.over(1)

    return run(main(), survive=(SystemExit, KeyboardInterrupt))


def dismiss() -> None:
    """Let the process go on after a role: who calls the command line as a function is not a process of ours to end."""
    global _watch  # noqa: PLW0603 - 见 until_signal
    if _watch is not None:
        _watch.dismiss()
        _watch = None


def settle(code: int) -> None:
    """Say with which code a role ends, now that everything is told; commands that are no role end as ever."""
    if _watch is not None:
        _watch.over(code)
        if _leftovers:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
