"""What the access log shows of bodies and queries: at most 50 KB, text only, no secrets."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import msgspec

from taskmill import constants as c

SECRET_WORDS = "password|passwd|passphrase|secret|token|authorization|api[_-]?key|apikey|credential|private[_-]?key|cookie"  # noqa: S105 - 是字段名的样式
_SECRET_NAME = re.compile(SECRET_WORDS, re.IGNORECASE)
# 快筛：没有机密字样、没有转义、没有本系统的密钥，就原样记录；逐个 in 比忽略大小写的正则快十倍
_SUSPECT = (
    b"passw", b"passphrase", b"secret", b"token", b"authorization", b"api-key", b"api_key", b"apikey", b"credential",
    b"private_key", b"private-key", b"privatekey", b"cookie", b"tmk_", b"bearer", b"\\u00", b"%",
)
_OWN_KEY = re.compile(rf"{c.API_KEY_PREFIX}[A-Za-z0-9_-]{{8,}}")
# 以下都用占有量词：客户端写的正文再怪，也只扫一遍
_BEARER = re.compile(r"(bearer\s++)[^\s\"',;]++", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)(?:"(\s*+:)?|\\?$)', re.DOTALL)
_VALUE = re.compile(r'\s*+(?:"(?:[^"\\]|\\.)*+(?:"|\\?$)|[\[{].*|[^,}\]\s"]++)?', re.DOTALL)
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
    low = raw.lower()
    suspect = any(word in low for word in _SUSPECT)
    shown = _clean(raw, truncated=truncated) if suspect else raw.decode(errors="replace")
    return shown + c.TRUNCATED if truncated else shown


def query(raw: bytes) -> str:
    """Return a query string without the values of secret-looking parameters."""
    return _words(_parameters(raw.decode("latin-1"))) if raw else ""


def _clean(raw: bytes, *, truncated: bool) -> str:
    if not truncated:
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if isinstance(value, (dict, list)):
            return _words(msgspec.json.encode(_masked(value)).decode())
    text = raw.decode(errors="replace")
    return _words(_scrubbed(text) if '"' in text else _parameters(text))


def _parameters(text: str) -> str:
    return "&".join(
        f"{part.partition('=')[0]}={c.SECRET_MASK}" if _SECRET_NAME.search(unquote(part.partition("=")[0])) else part
        for part in text.split("&")
    )


def _scrubbed(text: str) -> str:
    """不完整的 JSON：逐个字符串看，机密名字后面的值换掉；值是对象或数组时其后一切都不可信。"""
    kept: list[str] = []
    position = 0
    while (found := _STRING.search(text, position)) is not None:
        kept.append(text[position : found.end()])
        position = found.end()
        if found[2] is not None and _SECRET_NAME.search(_unescaped(found[1])):
            value = _VALUE.match(text, position)
            position = position if value is None else value.end()
            kept.append(f'"{c.SECRET_MASK}"')
    return "".join((*kept, text[position:]))


def _unescaped(name: str) -> str:
    if "\\" not in name:
        return name
    try:
        return str(msgspec.json.decode(f'"{name}"'.encode()))
    except msgspec.DecodeError:
        return name


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
