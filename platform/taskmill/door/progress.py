"""A bar on standard error for whoever submits very many, where a person looks."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Final, Self

PATIENCE_S: Final = 1.0  # 比这快的不值得闪一下


class Progress:
    """Counts what was submitted. `wanted` None: shown if standard error is a terminal, once it has taken a moment."""

    def __init__(self, total: int | None, *, wanted: bool | None = None) -> None:
        self._total = total
        self._wanted = sys.stderr.isatty() if wanted is None else wanted
        self._shows_at = time.monotonic() + (PATIENCE_S if wanted is None else 0.0)
        self._done = 0
        self._bar: Any = None
        self._line: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Say that so many more are stored."""
        self._done += count
        if not self._wanted or time.monotonic() < self._shows_at:
            return
        self._bar = self._bar or self._begin()
        self._bar.update(self._line, completed=self._done)

    def _begin(self) -> Any:
        # 没有人看就不导入它
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Bar(*columns, console=Console(stderr=True))
        self._line = bar.add_task("taskmill submit", total=self._total)
        bar.start()
        return bar
