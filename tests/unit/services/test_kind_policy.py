"""A schema that does not compile refuses its own kind and no other."""

from __future__ import annotations

import pytest

from taskmill.errors import Code, InputError
from taskmill.services.kinds import KindPolicy
from taskmill.stores.kind import KindDefaults

BAD = rb'{"type":"object","properties":{"a":{"type":"string","pattern":"^\\d+\\Z"}}}'
GOOD = b'{"type":"object"}'


def row(schema: bytes) -> KindDefaults:
    return KindDefaults("a.b", 1, "default", 2, 5, 1000, schema)


def test_a_schema_that_does_not_compile_refuses_its_kind_only() -> None:
    with pytest.raises(InputError) as caught:
        KindPolicy(row(BAD)).check({"a": "1"})
    assert caught.value.code is Code.ARGS_INVALID
    KindPolicy(row(GOOD)).check({"a": "1"})
