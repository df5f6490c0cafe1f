"""Nothing that others wrote steers the terminal."""

from __future__ import annotations

import json

import pytest

from taskmill.text.printable import json_safe, printable

HOSTILE = {
    "\x1b[31mred": "\\x1b[31mred", "\x1b]0;title\x07": "\\x1b]0;title\\x07", "\x9b2J": "\\x9b2J", "a\rb": "a\\x0db",
    "\u202egnp.exe": "\\u202egnp.exe", "\u2066x\u2069": "\\u2066x\\u2069", "\x00": "\\x00", "\x7f": "\\x7f",
    "\ud800": "\\ud800", "\u2028": "\\u2028", "\U000e0041": "\\U000e0041", "\u200b": "\\u200b", "\ufeff": "\\ufeff",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_steers_a_terminal_is_written_out(text: str) -> None:
    assert printable(text) == HOSTILE[text]
    printable(text).encode()


@pytest.mark.parametrize("text", ["你好，世界", "naïve", "👩\u200d💻", "a\u200cb", "a\u00a0b", ""])
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


def test_line_feeds_stay_where_they_are_wanted() -> None:
    assert printable("a\n\x1bb", "\n") == "a\n\\x1bb"
    assert printable("a\n") == "a\\x0a"


@pytest.mark.parametrize("text", [*HOSTILE, "你好\n"])
def test_json_says_the_same_without_them(text: str) -> None:
    safe = json_safe(json.dumps([text], ensure_ascii=False, indent=2))
    assert json.loads(safe) == [text]
    assert printable(safe, "\n") == safe
