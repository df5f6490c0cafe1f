"""The canonical text of args: keys in PostgreSQL's order, numbers written out. `tests/integration` compares it with PostgreSQL."""

from __future__ import annotations

import pytest

from taskmill.controls.unique_key import canonical, key_of


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"bb":1,"a":2,"c":3}', '{"a": 2, "c": 3, "bb": 1}'),
        (b'{"a":1,"a":2}', '{"a": 2}'),
        (b"[1e2,1.50,-0.0,1e-3,true,null]", "[100, 1.50, 0.0, 0.001, true, null]"),
        ('"é\\u00e9\\n\\u0001\\"/"'.encode(), '"éé\\n\\u0001\\"/"'),
        (b"{}", "{}"),
    ],
)
def test_canonical(raw: bytes, text: str) -> None:
    assert canonical(raw) == text


def test_a_key_names_its_kind_and_depends_on_the_args_alone() -> None:
    assert key_of("a.b", b'{"x":1,"yy":2}') == key_of("a.b", b'{ "yy": 2, "x": 1 }')
    assert key_of("a.b", b"{}") != key_of("a.c", b"{}")
    assert len(key_of("a.b", b"{}")) == len("a.b:") + 32
