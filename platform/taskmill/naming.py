"""What names may look like: one rule for each sort of name, and every name is at most NAME_MAX_CHARS characters long."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category

from taskmill import constants as c

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # 会出现在网址、键与环境变量里
_KIND: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
# 客户端可以来问的：外来的 taskiq 任务名没有那么规矩
_KIND_ASKED_FOR: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_SCHEDULE: Final = re.compile(r"\w[\w.:-]*")  # 会出现在网址里
_TAG: Final = re.compile(r"[^\s\x00-\x1f\ud800-\udfff]+")
STEERING: Final = frozenset({"Cc", "Cf"})  # 控制符与格式控制符（转义序列、双向文字）：看不见，却左右显示它的终端


def is_queue(name: object) -> bool:
    """Say whether a queue may have this name; False for what is no text."""
    return _fits(_PLAIN, name)


def is_plugin(name: object) -> bool:
    """Say whether a plugin may have this name; False for what is no text."""
    return _fits(_PLAIN, name)


def is_kind(name: object) -> bool:
    """Say whether a plugin may register a kind of this name, such as `report.build`."""
    return _fits(_KIND, name)


def may_be_kind(name: object) -> bool:
    """Say whether a client may ask for a kind of this name; looser than `is_kind`: taskiq names tasks otherwise."""
    return _fits(_KIND_ASKED_FOR, name)


def is_schedule(name: object) -> bool:
    """Say whether a schedule may have this name."""
    return _fits(_SCHEDULE, name)


def is_tag(text: str) -> bool:
    """Say whether a task may have this tag: no white space, nothing that steers a terminal."""
    return _fits(_TAG, text) and not STEERING.intersection(map(category, text))


def _fits(rule: re.Pattern[str], name: object) -> bool:
    return isinstance(name, str) and len(name) <= c.NAME_MAX_CHARS and rule.fullmatch(name) is not None
