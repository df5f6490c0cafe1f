"""What went wrong, for a log line or an answer: the class of an error and the server's own words."""

from __future__ import annotations

import re

from taskmill import constants as c

# 地址里的密码，与 password=… 的写法；服务器很少说出它们，驱动偶尔会
_SECRETS = (
    (re.compile(r"(://[^\s:/@]*:)[^\s@]+@"), rf"\1{c.SECRET_MASK}@"),
    (re.compile(r"""(?i)\b(password|passwd|pwd|auth)(["']?\s*[=:]\s*["']?)[^\s"',;)]+"""), rf"\1\2{c.SECRET_MASK}"),
)


def why(error: BaseException) -> str:
    """Return `Class: message` on one line, passwords masked; the class alone if the error says nothing.

    `repr` is not enough: redis shows `server:ResponseError` and keeps the server's words to itself.
    """
    words = " ".join(str(error).split())
    for pattern, mask in _SECRETS:
        words = pattern.sub(mask, words)
    if len(words) > c.ERROR_MESSAGE_MAX_CHARS:
        words = words[: c.ERROR_MESSAGE_MAX_CHARS] + c.TRUNCATED
    name = type(error).__name__
    return f"{name}: {words}" if words else name
