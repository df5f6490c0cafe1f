"""A pool of daemon threads that writes off those which do not come back.

`concurrent.futures.ThreadPoolExecutor` cannot be used for handlers: a thread that hangs keeps its place for ever, and the
interpreter waits for it at exit.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from taskmill.log import get_logger

log = get_logger(__name__)


class _Job(Future[Any]):
    """一次调用。执行中被取消时，线程停不下来，只能记下它已被放弃。"""

    def __init__(self, pool: DaemonPool, work: Callable[[], Any]) -> None:
        super().__init__()
        self._pool, self._work = pool, work
        self.over = False
        self.abandoned_at: float | None = None

    def cancel(self) -> bool:
        if super().cancel():
            return True
        self._pool.abandon(self)
        return False

    def run(self) -> None:
        try:
            result = self._work()
        except StopIteration:  # asyncio 的 Future 不收它，等待者会永远等下去
            self.set_exception(RuntimeError("the handler raised StopIteration"))
        except BaseException as error:  # noqa: BLE001 - 原样交给等待者
            self.set_exception(error)
        else:
            self.set_result(result)


class DaemonPool(Executor):
    """At most `size` threads work; a thread whose call was cancelled no longer counts, and ends when it returns."""

    def __init__(self, size: int, name: str = "task") -> None:
        self._size, self._name = size, name
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._live = self._idle = 0
        self._closed = False
        self._abandoned: set[_Job] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in a thread as soon as one is free; RuntimeError if there is none and none can be started."""
        job = _Job(self, lambda: fn(*args, **kwargs))
        with self._changed:
            if self._closed:
                message = "the pool is closed"
                raise RuntimeError(message)
            self._jobs.append(job)
            if not self._grow():
                self._jobs.remove(job)  # 报了错的调用以后也不能执行
                message = "no thread can be started"
                raise RuntimeError(message)
        return job

    def _grow(self) -> bool:
        """返回是否有线程会来取；起不了新的（进程数已到上限）就等手里的。"""
        if self._idle >= len(self._jobs):
            self._changed.notify()
        elif self._live < self._size:
            try:
                threading.Thread(target=self._main, name=self._name, daemon=True).start()
            except RuntimeError as error:
                log.warning("线程起不来", live=self._live, waiting=len(self._jobs), error=str(error))
            else:
                self._live += 1
        return self._live > 0

    def abandon(self, job: _Job) -> None:
        """Write off the thread of a running call: its place goes to another thread."""
        with self._changed:
            if job.over or job.abandoned_at is not None:
                return
            job.abandoned_at = time.monotonic()
            self._abandoned.add(job)
            self._live -= 1
            if self._jobs:
                self._grow()

    def stuck(self, seconds: float) -> int:
        """Return how many threads were written off more than `seconds` ago and have not come back."""
        before = time.monotonic() - seconds
        with self._changed:
            return sum(job.abandoned_at is not None and job.abandoned_at <= before for job in self._abandoned)

    def _main(self) -> None:
        while (job := self._next()) is not None:
            if job.set_running_or_notify_cancel():
                job.run()
                if not self._finish(job):
                    return

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._jobs:
                if self._closed:
                    self._live -= 1
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._jobs.popleft()

    def _finish(self, job: _Job) -> bool:
        """被放弃的线程已有人顶替，自己退出。"""
        with self._changed:
            job.over = True
            self._abandoned.discard(job)
        if job.abandoned_at is None:
            return True
        log.info("被放弃的线程结束了", after_s=round(time.monotonic() - job.abandoned_at, 1))
        return False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - 标准库的签名
        """Let go: calls that have not started are cancelled, nobody waits for those that run."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.cancel()
