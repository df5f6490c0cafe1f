"""A text for people in both languages, each in its own field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Words:
    """The same text in Chinese and English; `{name}` stands for a fact that a call fills in.

    A fact may itself be `Words`: each language then takes its own.
    """

    zh: str
    en: str

    def __call__(self, **facts: Any) -> Words:
        """Return the text with its facts; one that is missing shows as a question mark."""
        return Words(zh=self.zh.format_map(Facts(facts, "zh")), en=self.en.format_map(Facts(facts, "en")))

    def __str__(self) -> str:
        return self.en


_spoken = "en"  # 没人配置日志时：别人的程序里抛出的错误


def speak(language: str) -> None:
    """Say in which language (`zh` or `en`) this process logs; `str()` of an error follows it."""
    global _spoken  # noqa: PLW0603 - 每个进程只有一种日志语言
    _spoken = language


def said(words: Words) -> str:
    """Return a text in the language of this process's logs, for log lines and tracebacks."""
    return words.zh if _spoken == "zh" else words.en


class Facts(dict[str, Any]):
    """Facts for `str.format_map` in one language; telling an error must never be an error itself."""

    def __init__(self, facts: dict[str, Any], language: str) -> None:
        super().__init__(
            (name, getattr(value, language) if isinstance(value, Words) else value) for name, value in facts.items()
        )

    def __missing__(self, key: str) -> str:
        return "?"
