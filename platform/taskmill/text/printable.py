"""What others wrote, made safe for a terminal: control characters and invisible ones are shown, never sent."""

from __future__ import annotations

import unicodedata
from typing import Final

# 控制符（含 ESC 与 C1）、格式控制符（双向文字、零宽）、孤立代理、行与段分隔符
HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS: Final = "\u200c\u200d"  # 波斯文与表情符号的正常书写要用，不能改变别的文字
SHORT_MAX: Final = 0xFF
BASIC_MAX: Final = 0xFFFF


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which nothing steers the terminal: `\x1b`, `\u202e` and their like are written out.

    `keep` holds control characters that stay, such as line feeds.
    """
    if text.isprintable():
        return text
    return "".join(char if char in keep or not is_hidden(char) else shown(char) for char in text)


def is_hidden(char: str) -> bool:
    """Say whether a character is invisible and steers what is shown, or cannot be written at all."""
    return unicodedata.category(char) in HIDDEN and char not in JOINERS


def shown(char: str) -> str:
    """Return the escape of a character as Python, and for the first 16 bits JSON and YAML, write it."""
    number = ord(char)
    if number > BASIC_MAX:
        return f"\\U{number:08x}"
    return f"\\x{number:02x}" if number <= SHORT_MAX else f"\\u{number:04x}"


def json_safe(text: str) -> str:
    """Return JSON that says the same without a hidden character: inside of its texts they are escapes already or become them."""
    if text.isprintable():
        return text
    return "".join(char if char == "\n" or not is_hidden(char) else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    raw = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[place : place + 2].hex()}" for place in range(0, len(raw), 2))
