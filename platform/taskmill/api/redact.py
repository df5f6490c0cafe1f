"""What the access log shows of a request: at most 50 KB of a body, text only, no secrets."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from taskmill import constants as c
from taskmill.api import constants as ac

# 名字里任何位置出现就算；短的词要独立成词（user_pin、dbPass 算，shipping、compass 不算）
KEYS = "api|private|access|signing|encryption|ssh"
NAME_PARTS = (
    f"password|passwd|passphrase|passcode|passkey|secret|token|authorization|credential|cookie|session|(?:{KEYS})[ _-]?key"
)
NAME_WORDS = "pass|pwd|jwt|otp|pin|dsn|auth"
_TITLED = "|".join(form for word in NAME_WORDS.split("|") for form in (word.title(), word.upper()))
_SECRET_NAME = re.compile(
    rf"(?i:{NAME_PARTS})|(?<![A-Za-z])(?i:{NAME_WORDS})s?(?![a-z])|(?<=[a-z0-9])(?:{_TITLED})(?![a-z])"
)
# 快筛：没有这些字样、没有转义、没有本系统的密钥，就原样记录；逐个 in 比忽略大小写的正则快十倍
_SUSPECT = (
    b"pass",
    b"secret",
    b"token",
    b"auth",
    b"credential",
    b"cookie",
    b"session",
    b"pwd",
    b"jwt",
    b"otp",
    b"pin",
    b"dsn",
    b"tmk_",
    b"bearer",
    b"\\u00",
    b"%",
)
# key 单独出现不算，每页任务里到处是 unique_key：这些字样也在，才可能是机密的名字
_KEYS = tuple(word.encode() for word in KEYS.split("|"))
_SCHEME = (b":/", b"\\/")  # 有 @ 又有它们，才可能是网址里的用户名与密码；单有 @ 是邮件地址，到处都是
_OWN_KEY = re.compile(rf"{c.API_KEY_PREFIX}[A-Za-z0-9_-]{{8,}}")
# 以下都用占有量词：客户端写的正文再怪，也只扫一遍
_BEARER = re.compile(r"(bearer(?:\s|\+|%20)++)[^\s\"',;&]++", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)(?:"(\s*+:)?|\\?$)', re.DOTALL)
_VALUE = re.compile(r'\s*+(?:"(?:[^"\\]|\\.)*+(?:"|\\?$)|[\[{].*|[^,}\]\s"]++)?', re.DOTALL)
# 网页只记类型：里面有 CSRF 令牌，而且都是别处记过的内容
_TEXT = re.compile(r"^(text/(plain|xml|csv)|application/(json|.*\+json|xml|x-www-form-urlencoded))", re.IGNORECASE)
_ESCAPE = re.compile(r'\\(?:u((?!d[89a-f])[0-9a-f]{4})|(["\\/bfnrt]))', re.IGNORECASE)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# 网址里的 user:password@（斜杠可能转义过，嵌套的还不止一次），以及文字里任何地方的 name=value（查询串、libpq 的连接串）
_USERINFO = re.compile(r"(:(?:\\*+/){2})(?:[^\s/?#\"'<>@]*+@)++")
_MERGED_USERINFO = re.compile(r"(:/)(?!/)[^\s/?#\"'<>@:]*+:[^\s/?#\"'<>@]*+@")  # 路由把路径里相连的斜杠并成了一个
_CUT_USERINFO = re.compile(r"(:(?:\\*+/){2})[^\s/?#\"'<>@:]*+:[^\s/?#\"'<>@]*+$")  # @ 还没来，正文就断了
_NAME = re.compile(r"(?<![\w.%\[\]+-])([\w.%\[\]+-]++)\s?=\s?", re.ASCII)
_NAMES_VALUE = re.compile(r"""'(?:[^'"\\]|\\.)*+'?|(?:\\.|[^\s&;,"'\\])++""")
_NESTED = re.compile(r"%(?:25)++(?=[0-9a-f]{2})", re.IGNORECASE)  # 编码过不止一次：%2540 也是 @
_NAMED = ("name", "key", "header")  # [{"name": "X-Api-Key", "value": "…"}] 的写法


def is_text(content_type: str) -> bool:
    """Say whether a body of this type is logged; an undeclared type is judged by its bytes later."""
    return not content_type or _TEXT.match(content_type) is not None


def placeholder(content_type: str) -> str:
    """Return what stands for a body that is not logged."""
    return f"<{field(content_type.partition(';')[0])}>"


def body(raw: bytes, *, truncated: bool) -> str:
    """Return the loggable form of a text body of which `raw` is the beginning (all of it unless `truncated`)."""
    if b"\x00" in raw:
        return placeholder("binary")
    low = raw.lower()
    suspect = (
        any(word in low for word in _SUSPECT)
        or (b"key" in low and any(word in low for word in _KEYS))
        or (b"@" in low and any(mark in low for mark in _SCHEME))
    )
    shown = _clean(raw, truncated=truncated) if suspect else raw.decode(errors="replace")
    return _CUT_USERINFO.sub(rf"\1{c.SECRET_MASK}", shown) + c.TRUNCATED if truncated else shown


def query(raw: bytes) -> str:
    """Return the beginning of a query string without the values of secret-looking parameters."""
    return _cut(_words(_parameters(raw.decode("latin-1")))) if raw else ""


def path(text: str) -> str:
    """Return the beginning of a path without secrets in it."""
    return _cut(_seen(text))


@lru_cache(maxsize=ac.SECRET_NAMES_CACHED)  # User-Agent 总是那几个
def field(text: str | None) -> str | None:
    """Return the beginning of a header's value without secrets in it."""
    return None if text is None else _cut(_seen(text))


def _cut(text: str) -> str:
    return text if len(text) <= ac.LOG_FIELD_MAX_CHARS else text[: ac.LOG_FIELD_MAX_CHARS] + c.TRUNCATED


def is_secret(name: str) -> bool:
    """Say whether a field of this name looks like holding a secret."""
    return _known(name) if len(name) <= c.NAME_MAX_CHARS else _SECRET_NAME.search(name) is not None


@lru_cache(maxsize=ac.SECRET_NAMES_CACHED)
def _known(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _clean(raw: bytes, *, truncated: bool) -> str:
    if not truncated:
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if isinstance(value, (dict, list)):
            return _words(msgspec.json.encode(_masked(value)).decode())
    text = raw.decode(errors="replace")
    return _inside(text, 0) if '"' in text else _words(_parameters(text, cut=truncated))


def _parameters(text: str, *, cut: bool = False) -> str:
    return "&".join(_parameter(each, cut=cut) for each in text.split("&"))


def _parameter(text: str, *, cut: bool) -> str:
    name = text.partition("=")[0]
    if _is_secret(name):
        return f"{name}={c.SECRET_MASK}"
    return _seen(text, cut=cut) if "%" in text or '"' in text else text


def _scrubbed(text: str, depth: int) -> str:
    """不完整的 JSON：逐个字符串看，机密名字后面的值换掉；值是对象或数组时其后一切都不可信。"""
    kept: list[str] = []
    position = 0
    while (found := _STRING.search(text, position)) is not None:
        kept += (text[position : found.start(1)], _string(found[1], depth), text[found.end(1) : found.end()])
        position = found.end()
        if found[2] is not None and is_secret(_unescaped(found[1])):
            value = _VALUE.match(text, position)
            position = position if value is None else value.end()
            kept.append(f'"{c.SECRET_MASK}"')
    return "".join((*kept, text[position:]))


def _string(raw: str, depth: int) -> str:
    """写成转义的字样里也可能有机密：还原了再看，有才改写。"""
    plain = _unescaped(raw)
    if plain is raw and "%" not in raw:
        return raw
    # 正文的最后一个字符串可能断在 @ 之前；别的字符串末尾多遮一个端口也无妨
    clean = _seen(plain, depth + 1, cut=True)
    return raw if clean == plain else msgspec.json.encode(clean).decode()[1:-1]


def _is_secret(name: str) -> bool:
    return is_secret(_plain(name).replace("+", " "))


def _plain(text: str) -> str:
    return unquote(_NESTED.sub("%", text)) if "%" in text else text


def _seen(text: str, depth: int = 0, *, cut: bool = False) -> str:
    """编码过（也许几层）的文字里也有用户名、密码与查询串：还原了再看，有才改写。`cut`：它可能断在半路。"""
    plain = _plain(text)
    clean = _inside(plain, depth)
    if cut:
        clean = _CUT_USERINFO.sub(rf"\1{c.SECRET_MASK}", clean)
    return text if clean == plain else clean


def _inside(text: str, depth: int) -> str:
    """文字本身也可能是一份 JSON（要转发的正文），里面还可能有；套得太深的不看了，整个遮住。"""
    if '"' not in text:
        return _words(text)
    return _words(_scrubbed(text, depth)) if depth <= ac.NESTED_JSON_MAX else c.SECRET_MASK


def _unescaped(raw: str) -> str:
    """宽松：断在半路的、不合法的转义原样留下。"""
    return raw if "\\" not in raw else _ESCAPE.sub(_char, raw)


def _char(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2])


def _words(text: str) -> str:
    """值里也可能有密钥：不管字段叫什么。"""
    if c.API_KEY_PREFIX in text:
        text = _OWN_KEY.sub(c.API_KEY_PREFIX + c.SECRET_MASK, text)
    text = _BEARER.sub(rf"\1{c.SECRET_MASK}", text)
    if "@" in text and (":/" in text or "\\/" in text):
        for userinfo in (_USERINFO, _MERGED_USERINFO):
            text = userinfo.sub(rf"\1{c.SECRET_MASK}@", text)
    return _pairs(text) if "=" in text else text


def _pairs(text: str) -> str:
    """值里还可能有 name=value：to=https://h/?token=x。"""
    kept: list[str] = []
    position = 0
    while (found := _NAME.search(text, position)) is not None:
        kept.append(text[position : found.end()])
        position = found.end()
        if _is_secret(found[1]) and (value := _NAMES_VALUE.match(text, position)) is not None:
            kept.append(c.SECRET_MASK)
            position = value.end()
    return "".join((*kept, text[position:]))


def _masked(value: Any) -> Any:
    """逐层替换，不递归：客户端决定深度。"""
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            _mask_fields(item)
        for place, child in list(item.items() if isinstance(item, dict) else enumerate(item)):
            if isinstance(child, (dict, list)):
                todo.append(child)
            elif isinstance(child, str) and ('"' in child or "%" in child):
                item[place] = _seen(child)
    return value


def _mask_fields(item: dict[str, Any]) -> None:
    for name in item:
        if is_secret(name):
            item[name] = c.SECRET_MASK
    if "value" in item and any(isinstance(item.get(name), str) and is_secret(item[name]) for name in _NAMED):
        item["value"] = c.SECRET_MASK
