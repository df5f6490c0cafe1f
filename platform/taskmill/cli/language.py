"""Which language tables, messages and errors are in."""

from __future__ import annotations

import os
from collections.abc import Mapping

from taskmill.words import Words

LANGUAGES = ("zh", "en")
_chosen: list[str] = []


def choose(name: str) -> None:
    """Use this language for the rest of the process; one of `LANGUAGES`."""
    _chosen[:] = [name]


def from_environment(environment: Mapping[str, str]) -> str:
    """Return the language that LC_ALL, LC_MESSAGES or LANG ask for: Chinese if they say so, else English."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(name)
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def language() -> str:
    """Return the language in use."""
    return _chosen[0] if _chosen else from_environment(os.environ)


def log_language() -> str:
    """Return the language of the log lines of a command that a person runs: TASKMILL_LOG_LANG, else the one in use."""
    return os.environ.get("TASKMILL_LOG_LANG") or language()


def words(zh: str, en: str) -> str:
    """Return the one that fits the language in use."""
    return zh if language() == "zh" else en


def in_language(text: Words) -> str:
    """Return a text in the language in use."""
    return words(text.zh, text.en)
