"""One definition of JSON: what it cannot hold is refused, the rest comes back as it was."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.strict_json import Encoder, NotJsonError, decode


class Point(msgspec.Struct):
    x: float


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, {"v": [1, math.nan]}, [None, math.inf], Point(math.nan), "\ud800",
     {"\udfff": 1}, object()],
)  # fmt: skip
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(NotJsonError) as caught:
        Encoder().encode(value)
    assert caught.value.words.zh != caught.value.words.en


@pytest.mark.parametrize(
    "text",
    [
        '{"v": NaN}',
        "Infinity",
        "-Infinity",
        "1e400",
        '"\\ud800"',
        b"\xff",
        b'\xef\xbb\xbf{"a":1}',
        "",
        "{",
        "[" * 100_000,
        "\udcff",
    ],
)
def test_a_text_that_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(NotJsonError):
        decode(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_everything_else_comes_back(value: Any) -> None:
    assert decode(Encoder().encode(value)) == value


def test_of_a_name_that_stands_there_twice_the_last_value_counts() -> None:
    assert decode('{"a": 1, "a": 2}') == {"a": 2}


def test_whole_numbers_have_any_size() -> None:
    assert decode(Encoder().encode([10**400])) == [10**400]
