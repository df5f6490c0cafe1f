"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from taskmill import reasons
from taskmill.errors import Code, InputError

T = TypeVar("T")


class Background:
    """Runs coroutines for any number of threads. `stop` ends it for good."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="taskmill-door", daemon=True)
        self._process = os.getpid()
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and return what it returns; whatever ends the wait, such as Ctrl-C, ends the work too.

        InputError USAGE in a process that was forked off: the thread stayed behind.
        """
        if os.getpid() != self._process:
            work.close()
            raise InputError(Code.USAGE, reason=reasons.FORKED)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # 已经结束的，不受影响

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
