"""What makes two failures the same: the kind, the type of the error, its message without what changes, and where the author's code stood.

Pure: no clock, no database. The settle writes what it returns.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

READ_MAX: Final = 1_000  # 只看文字的开头这么多字：正则表达式走一遍的时间因此有限
MESSAGE_MAX: Final = 200
DIGITS: Final = 16  # 指纹的长度：64 位，每种类型几百个组之内不会相撞

# 次序要紧：网址里有路径与数字，引号里什么都有
_CHANGING: Final = re.compile(
    r"""
    (?P<url>  (?<![\w+.-]) [a-zA-Z][a-zA-Z0-9+.-]{1,20}:// [^\s'"`<>]+ )
  | (?P<text> (?<!\w) [bBfFrRuU]{0,2} (?: '[^']*' | "[^"]*" | `[^`]*` ) (?!\w) )
  | (?P<id>   (?<![0-9a-fA-F]) [0-9a-fA-F]{8} - (?:[0-9a-fA-F]{4}-){3} [0-9a-fA-F]{12} (?![0-9a-fA-F]) )
  | (?P<path> (?<![\w/.]) (?: ~ | \.{1,2} | [a-zA-Z]: )? (?: [/\\] [\w.@%+~-]+ )+ [/\\]? )
  | (?P<hex>  (?<!\w) (?: 0[xX][0-9a-fA-F]+ | (?=[a-fA-F]*\d) (?=\d*[a-fA-F]) [0-9a-fA-F]{8,} ) (?!\w) )
  | (?P<n>    \d+ (?: [.,:]\d+ )* )
    """,
    re.VERBOSE | re.ASCII,
)


def normalised(message: str) -> str:
    """Return the message on one line, numbers, ids, hex, quoted strings, URLs and paths replaced by their names in angle brackets."""
    line = " ".join(message[:READ_MAX].split())
    told = _CHANGING.sub(lambda found: f"<{found.lastgroup}>", line)
    return told if len(told) <= MESSAGE_MAX else told[: MESSAGE_MAX - 1] + "…"


def fingerprint(kind: str, error_type: str, message: str, frame: str) -> str:
    """Return the name of a group of failures, 16 hexadecimal digits, from its kind, type, normalised message and frame."""
    told = f"{kind}\x1f{error_type}\x1f{message}\x1f{frame}".encode("utf-8", "backslashreplace")
    return hashlib.sha256(told).hexdigest()[:DIGITS]


def place(file: str, function: str) -> str:
    """Return a frame as groups name it: the file with its folder, and the function; without the line, which changes with each release."""
    return f"{'/'.join(file.replace(chr(92), '/').rsplit('/', 2)[-2:])} {function}"
