"""What others wrote, made safe for a terminal: control characters and invisible ones are shown, never sent."""

from __future__ import annotations

import unicodedata
from typing import Final

# 控制符（含 ESC 与 C1）、格式控制符（双向文字、零宽）、孤立代理、行与段分隔符
HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS: Final = "\u200c\u200d"  # 波斯文与表情符号的正常书写要用，不能改变别的文字


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which nothing steers the terminal: `\x1b`, `\u202e` and their like are written out.

    `keep` holds control characters that stay, such as line feeds.
    """
    if text.isprintable():
        return text
    return "".join(_shown(char) if _hidden(char) and char not in keep else char for char in text)


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in HIDDEN and char not in JOINERS


def _shown(char: str) -> str:
    number = ord(char)
    if number > 0xFFFF:  # noqa: PLR2004 - 四位写不下
        return f"\\U{number:08x}"
    return f"\\u{number:04x}" if number > 0xFF else f"\\x{number:02x}"  # noqa: PLR2004
