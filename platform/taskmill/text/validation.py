"""What msgspec says of data that does not fit, in both languages."""

from __future__ import annotations

import re

from taskmill import reasons
from taskmill.words import Words

# msgspec 的英文 → 中文；顺序无关，各自整句匹配
_CHINESE = (
    (re.compile(r"Expected `(.+)`, got `(.+)`"), r"应为 \1，实为 \2"),
    (re.compile(r"Object missing required field `(.+)`"), "缺少必填字段"),
    (re.compile(r"Object contains unknown field `(.+)`"), "没有这个字段"),
    (re.compile(r"Expected `\w+` (>=|<=|>|<) (\S+)"), r"须 \1 \2"),
    (re.compile(r"Expected `\w+` of length (>=|<=) (\S+)"), r"长度须 \1 \2"),
    (re.compile(r"Invalid (RFC3339 encoded datetime|UUID)"), r"不是合法的 \1"),
    (re.compile(r"Invalid enum value (.+)"), r"不在可选的值里：\1"),
    (re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)"), r"第 \2 字节处有误：\1"),
    (re.compile(r"Input data was truncated"), "数据不完整"),
)
_PLACE = re.compile(r"(?P<reason>.*?)(?P<place> - at `[^`]*`)?", re.DOTALL)


def in_both(message: str) -> Words:
    """Return a message of msgspec in both languages; the place that it may name stays in both."""
    found = _PLACE.fullmatch(message)
    reason, place = (found["reason"], found["place"] or "") if found else (message, "")
    for pattern, chinese in _CHINESE:
        if match := pattern.fullmatch(reason):
            return Words(zh=match.expand(chinese) + place.replace(" - at ", "："), en=message)
    return reasons.UNFIT(words=message)
