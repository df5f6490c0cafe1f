"""Which language tables, messages and errors are in."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from taskmill.words import Words

LANGUAGES = ("zh", "en")
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
_chosen: list[str] = []


def choose(name: str) -> None:
    """Use this language for the rest of the process; one of `LANGUAGES`."""
    _chosen[:] = [name]


def from_environment(environment: Mapping[str, str]) -> str:
    """Return the language that LC_ALL, LC_MESSAGES or LANG ask for: Chinese if they say so, else English."""
    for name in _LOCALE:
        value = environment.get(name)
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def language() -> str:
    """Return the language in use."""
    return _chosen[0] if _chosen else from_environment(os.environ)


def log_language(*, watched: bool = False) -> str:
    """Return the language of the log lines of a command that a person may run.

    TASKMILL_LOG_LANG, else the one in use, where a person chose one or looks on. In a Job, whose locale is C, nobody did: its
    logs are Chinese then, as those of the roles. `watched`: somebody does, as with `taskmill dev`.
    """
    if given := os.environ.get("TASKMILL_LOG_LANG"):
        return given
    return language() if watched or _chosen or _named(os.environ) or sys.stderr.isatty() else "zh"


def _named(environment: Mapping[str, str]) -> bool:
    """人的语言，而不是容器镜像里的 C。"""
    locale = next((value for name in _LOCALE if (value := environment.get(name))), "C")
    return locale.split(".")[0].split("@")[0] not in {"C", "POSIX"}


def words(zh: str, en: str) -> str:
    """Return the one that fits the language in use."""
    return zh if language() == "zh" else en


def in_language(text: Words) -> str:
    """Return a text in the language in use."""
    return words(text.zh, text.en)
