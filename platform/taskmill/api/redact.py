"""What the access log shows of bodies and queries: at most 50 KB, text only, no secrets."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from taskmill import constants as c

SECRET_WORDS = "password|passwd|passphrase|secret|token|authorization|api[_-]?key|apikey|credential|private[_-]?key|cookie"
_SECRET_NAME = re.compile(SECRET_WORDS, re.IGNORECASE)
# 快筛：没有机密字样、没有转义、没有本系统的密钥，就原样记录
_SUSPECT = re.compile(rb"\\u00|%|tmk_|bearer |" + SECRET_WORDS.encode(), re.IGNORECASE)
_OWN_KEY = re.compile(rf"{c.API_KEY_PREFIX}[A-Za-z0-9_-]{{8,}}")
_BEARER = re.compile(r"(bearer\s+)[^\s\"',;]+", re.IGNORECASE)
# 不完整的 JSON 里的 "名字": 值；对象与数组值后面的一切都不可信
_PAIR = re.compile(
    rf'("[^"]*(?:{SECRET_WORDS})[^"]*"\s*:\s*)(?:"(?:[^"\\]|\\.)*(?:"|\\?$)|[\[{{].*|[^,}}\]\s"]+)', re.IGNORECASE | re.DOTALL
)
_PARAMETER = re.compile(rf"((?:^|[&;?])[^=&;]*(?:{SECRET_WORDS})[^=&;]*=)[^&;]*", re.IGNORECASE)
_TEXT = re.compile(r"^(text/(plain|html|xml|csv)|application/(json|.*\+json|xml|x-www-form-urlencoded))", re.IGNORECASE)


def is_text(content_type: str) -> bool:
    """Say whether a body of this type is logged; an undeclared type is judged by its bytes later."""
    return not content_type or _TEXT.match(content_type) is not None


def placeholder(content_type: str) -> str:
    """Return what stands for a body that is not logged."""
    return f"<{content_type.partition(';')[0]}>"


def body(raw: bytes, *, truncated: bool) -> str:
    """Return the loggable form of a text body of which `raw` is the beginning (all of it unless `truncated`)."""
    if b"\x00" in raw:
        return placeholder("binary")
    shown = raw.decode(errors="replace") if _SUSPECT.search(raw) is None else _clean(raw, truncated=truncated)
    return shown + c.TRUNCATED if truncated else shown


def query(raw: bytes) -> str:
    """Return a query string without the values of secret-looking parameters."""
    if not raw:
        return ""
    return _words(_PARAMETER.sub(rf"\1{c.SECRET_MASK}", raw.decode("latin-1")))


def _clean(raw: bytes, *, truncated: bool) -> str:
    if not truncated:
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if isinstance(value, (dict, list)):
            return _words(msgspec.json.encode(_masked(value)).decode())
    text = _PAIR.sub(rf'\1"{c.SECRET_MASK}"', raw.decode(errors="replace"))
    return _words(_PARAMETER.sub(rf"\1{c.SECRET_MASK}", text))


def _words(text: str) -> str:
    """值里也可能有密钥：不管字段叫什么。"""
    return _BEARER.sub(rf"\1{c.SECRET_MASK}", _OWN_KEY.sub(c.API_KEY_PREFIX + c.SECRET_MASK, text))


def _masked(value: Any) -> Any:
    """逐层替换，不递归：客户端决定深度。"""
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            for name in item:
                if _SECRET_NAME.search(name):
                    item[name] = c.SECRET_MASK
            todo.extend(child for child in item.values() if isinstance(child, (dict, list)))
        else:
            todo.extend(child for child in item if isinstance(child, (dict, list)))
    return value
