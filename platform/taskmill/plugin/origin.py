"""Where in a plugin's own code an error arose: its frames without those of Taskmill that called it."""

from __future__ import annotations

import traceback
from pathlib import Path

import taskmill
from taskmill.plugin import constants as c

_OURS = (str(Path(taskmill.__file__).parent), "<frozen importlib")
_CALLERS = ("pluggy", "importlib", "click", "rich_click")  # 夹在中间替我们去叫插件的


def frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames from the first one on that is the plugin's; none if nothing of the plugin had been called yet."""
    found = list(traceback.extract_tb(error.__traceback__))
    while found and _calls(found[0].filename):
        del found[0]
    return found


def place(error: BaseException) -> str:
    """Return `file:line` of the plugin's innermost frame, empty if it has none."""
    own = frames(error)
    home = Path(own[0].filename).parent if own else None
    last = [frame for frame in own if Path(frame.filename).parent == home][-1:]
    return f"{last[0].filename}:{last[0].lineno}" if last else ""


def trace(error: BaseException) -> str:
    """Return the plugin's innermost frames on one line, empty if it has none; no local variables: secrets may be among them."""
    found, cause = frames(error), error.__cause__
    for _ in range(c.PLUGIN_TRACE_FRAMES):  # 原因可以连成圈
        if found or cause is None:
            break
        found, cause = frames(cause), cause.__cause__
    return " → ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in found[-c.PLUGIN_TRACE_FRAMES :])


def words(error: BaseException) -> str:
    """Return type and text on one line, with the place."""
    told = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    where = place(error)
    return f"{told} ({where})" if where else told


def _calls(file: str) -> bool:
    return file.startswith(_OURS) or Path(file).parent.name in _CALLERS
