"""Texts that a result can hold, and no byte more than it may have."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.plugin import storable


@given(st.text(st.characters(exclude_categories=[])), st.integers(2, 200))
def test_every_text_is_stored_within_the_limit(text: str, max_bytes: int) -> None:
    stored, cut = storable(text, max_bytes)
    encoded = msgspec.json.encode(stored)
    assert len(encoded) <= max_bytes
    assert b"\\u0000" not in encoded.replace(b"\\\\", b"")
    assert len(stored) == len(text) or cut


@pytest.mark.parametrize(
    ("text", "max_bytes", "expected"),
    [
        ("abc", 5, ("abc", False)),
        ("abc", 4, ("ab", True)),
        ("字字", 8, ("字字", False)),
        ("字字", 7, ("字", True)),
        ("\x01\x01", 14, ("\x01\x01", False)),
        ("\x01\x01", 13, ("\x01", True)),
        ('""', 6, ('""', False)),
        ('""', 5, ('"', True)),
        ("a\x00\ud800", 100, ("a\ufffd\ufffd", False)),
        ("", 2, ("", False)),
        ("abc", 2, ("", True)),
        ("abc", 0, ("", True)),
        ("abc", -9, ("", True)),
    ],
)
def test_storable(text: str, max_bytes: int, expected: tuple[str, bool]) -> None:
    assert storable(text, max_bytes) == expected
