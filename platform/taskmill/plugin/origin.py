"""Where in a plugin's own code an error arose: its frames without those of Taskmill that called it."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path
from types import FrameType, TracebackType

import taskmill
from taskmill.plugin import constants as c
from taskmill.text import fingerprint

_OURS = (f"{Path(taskmill.__file__).parent}{os.sep}", "<frozen importlib")  # 末尾的分隔符：taskmill_http 是插件
_STDLIB = f"{sysconfig.get_path('stdlib')}{os.sep}"
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_CALLERS = ("pluggy", "importlib", "click", "rich_click", "asyncio", "taskiq", "receiver")  # 夹在中间替我们去叫插件的


def start(error: BaseException) -> TracebackType | None:
    """Return the traceback from the plugin's first frame on; None if nothing of the plugin had been called yet."""
    found = error.__traceback__
    while found is not None and calls(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found


def frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames from the plugin's first one on."""
    return list(traceback.extract_tb(start(error)))


def story(error: BaseException) -> str:
    """Return the traceback as Python writes it, without the frames of Taskmill that led to the plugin."""
    return "".join(traceback.format_exception(type(error), error, start(error) or error.__traceback__))


def place(error: BaseException) -> str:
    """Return `file:line` of the plugin's innermost frame, empty if it has none."""
    own = frames(error)
    home = Path(own[0].filename).parent if own else None
    last = [frame for frame in own if Path(frame.filename).parent == home][-1:]
    return f"{last[0].filename}:{last[0].lineno}" if last else ""


def frame(error: BaseException) -> str:
    """Return where the author's own code stood, `folder/file.py function`: the innermost frame that is no library's; empty if there is none.

    Of a plugin that is installed as a library that is the innermost frame in the folder where it was entered.
    """
    walked = ((found.f_code.co_filename, found.f_code.co_name) for found, _ in traceback.walk_tb(start(error)))
    files = [each for each in walked if not each[0].startswith("<")]
    own = [each for each in files if not _is_library(each[0])]
    home = os.path.dirname(files[0][0]) if files else ""  # noqa: PTH120 - 每次失败都走这里，Path 慢得多
    last = (own or [each for each in files if os.path.dirname(each[0]) == home])[-1:]  # noqa: PTH120
    return fingerprint.place(*last[0]) if last else ""


def _is_library(file: str) -> bool:
    return file.startswith((*_OURS, _STDLIB)) or any(part in file for part in _INSTALLED)


def standing(frame: FrameType) -> tuple[str, str]:
    """Return where a plugin's code stands in a thread, `file:line function` in its own folder, and its stack as Python writes it."""
    stack = traceback.extract_stack(frame)
    ours = max((place for place, each in enumerate(stack) if each.filename.startswith(_OURS)), default=-1)
    own = stack[ours + 1 :] or stack[-1:]
    home = Path(own[0].filename).parent
    last = [each for each in own if Path(each.filename).parent == home][-1]
    return f"{last.filename}:{last.lineno} {last.name}", "".join(traceback.format_list(own))


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


def calls(file: str) -> bool:
    """Say whether a frame of this file is one that leads to the plugin: Taskmill's own, or of what it calls plugins by."""
    return file.startswith(_OURS) or Path(file).parent.name in _CALLERS
