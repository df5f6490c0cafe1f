"""The last words of a one-off container: a small JSON file that Kubernetes shows as its termination message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from taskmill.cli import constants as c
from taskmill.errors import TaskmillError
from taskmill.log import get_logger

log = get_logger(__name__)


@contextmanager
def telling(path: Path | None) -> Iterator[Callable[[object], None]]:
    """Give a function that writes a result to `path` (None: nowhere); an exception is written as `{"error": …}`."""
    try:
        yield lambda result: _write(path, msgspec.json.encode(result))
    except Exception as error:
        # 控制器把它放进条件与事件，那里是英文
        words = (error.words.en if isinstance(error, TaskmillError) else str(error)).strip() or type(error).__name__
        code = error.code.value if isinstance(error, TaskmillError) else type(error).__name__
        _write(path, _bounded(code, words.splitlines()[-1]))
        raise


def _bounded(code: str, line: str) -> bytes:
    """超长就截断文字，JSON 仍然完整。"""
    raw = msgspec.json.encode({"error": line, "code": code})
    while len(raw) > c.TERMINATION_MAX_BYTES:
        line = line[: len(line) * 3 // 4]
        raw = msgspec.json.encode({"error": line, "code": code})
    return raw


def _write(path: Path | None, raw: bytes) -> None:
    if path is None:
        return
    try:
        path.write_bytes(raw[: c.TERMINATION_MAX_BYTES])
    except OSError as error:
        log.warning("终止消息写不下", path=str(path), error=str(error))
