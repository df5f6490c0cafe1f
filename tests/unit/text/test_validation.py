"""What msgspec says of data, in both languages."""

from __future__ import annotations

import pytest

from taskmill.text.validation import in_both


@pytest.mark.parametrize(
    ("said", "chinese"),
    [
        ("Expected `str`, got `int`", "应为 str，实为 int"),
        ("Expected `str`, got `int` - at `$.tasks[1]`", "应为 str，实为 int：`$.tasks[1]`"),
        ("JSON is malformed: trailing comma in object (byte 8)", "第 8 字节处有误：trailing comma in object"),
        ("Input data was truncated", "数据不完整"),
        ("low must not exceed port", "不合要求：low must not exceed port"),
    ],
)
def test_a_message_keeps_its_english_and_gets_a_chinese_of_its_own(said: str, chinese: str) -> None:
    words = in_both(said)
    assert (words.en, words.zh) == (said, chinese)
