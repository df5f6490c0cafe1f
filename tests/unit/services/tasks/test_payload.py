"""The limits of JSON from outside, at their edges."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.errors import Code, InputError
from taskmill.services.tasks.payload import encode

BYTES, DEPTH = 100, 4
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
)


def depth(value: Any) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max((depth(child) for child in (value.values() if isinstance(value, dict) else value)), default=0)


def nested(levels: int, core: Any) -> Any:
    for level in range(levels):
        core = {"k": core} if level % 2 else [core]
    return core


def check(value: Any) -> bytes:
    return encode(value, field="args", max_bytes=BYTES, max_depth=DEPTH)


@pytest.mark.parametrize("core", [1, {}, []], ids=["scalar", "object", "list"])
@pytest.mark.parametrize("limit", [DEPTH, 64])
def test_depth_at_its_edge(limit: int, core: Any) -> None:
    fits = limit - depth(core)
    encode(nested(fits, core), field="args", max_bytes=10_000, max_depth=limit)
    with pytest.raises(InputError) as caught:
        encode(nested(fits + 1, core), field="args", max_bytes=10_000, max_depth=limit)
    assert caught.value.code is Code.ARGS_TOO_DEEP
    assert caught.value.details == {"field": "args", "limit": limit}


def test_size_at_its_edge() -> None:
    assert len(check("x" * (BYTES - 2))) == BYTES
    with pytest.raises(InputError) as caught:
        check("x" * (BYTES - 1))
    assert caught.value.code is Code.ARGS_TOO_LARGE
    assert caught.value.details == {"field": "args", "size": BYTES + 1, "limit": BYTES}


def test_size_counts_bytes_not_characters() -> None:
    with pytest.raises(InputError) as caught:
        check("字" * 40)
    assert caught.value.code is Code.ARGS_TOO_LARGE


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("\x00", "args"),
        ({"a": {"b": ["x", "y\x00z"]}}, "args.a.b[1]"),
        ({"a": {"k\x00": 1}}, "args.a"),
        ({"a": "\\\x00"}, "args.a"),
    ],
)
def test_nul_is_refused_and_its_place_named(value: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check(value)
    assert (caught.value.code, caught.value.details["field"]) == (Code.ARGS_INVALID, field)


@pytest.mark.parametrize("value", ["\\u0000", {"path": "C:\\u0000"}])
def test_a_backslash_before_u0000_is_only_text(value: Any) -> None:
    assert msgspec.json.decode(check(value)) == value


@pytest.mark.parametrize("value", ["\ud800", {"a": "\udfff"}, object(), {1j: 2}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        check(value)
    assert caught.value.code is Code.ARGS_INVALID


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InputError) as caught:
        check(loop)
    assert caught.value.code in {Code.ARGS_INVALID, Code.ARGS_TOO_LARGE, Code.ARGS_TOO_DEEP}


@given(values)
def test_exactly_what_is_within_the_limits_passes(value: Any) -> None:
    raw = msgspec.json.encode(value)
    nul = b"\\u0000" in raw and "\x00" in str(msgspec.json.decode(raw))
    fits = len(raw) <= BYTES and depth(value) <= DEPTH and not (nul or _has_nul(value))
    if fits:
        assert check(value) == raw
    else:
        with pytest.raises(InputError):
            check(value)


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\x00" in key or _has_nul(child) for key, child in value.items())
    if isinstance(value, list):
        return any(_has_nul(child) for child in value)
    return isinstance(value, str) and "\x00" in value
