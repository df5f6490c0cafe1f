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


@pytest.mark.parametrize(
    ("args", "field", "en", "zh"),
    [
        (
            {"ur": "x"},
            "args",
            "no field ur; did you mean url? there are: n, url",
            "没有字段 ur。是否想写 url？有这些：n, url",
        ),
        ({"url": "x", "zzz": 1, "n": 1}, "args", "no field zzz; there are: n, url", "没有字段 zzz。有这些：n, url"),
        ({}, "args", '"url" is a required property', "缺少 url"),
        ({"url": 1}, "args.url", '1 is not of type "string"', "须是 string"),
        ({"url": "x", "n": 9}, "args.n", "9 is greater than the maximum of 4", "不得大于 4"),
    ],
)
def test_what_is_wrong_with_args_is_said_in_both_languages(args: object, field: str, en: str, zh: str) -> None:
    schema = (
        b'{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","required":["url"],"additionalProperties":false,'
        b'"properties":{"url":{"type":"string"},"n":{"type":"integer","maximum":4}}}}}'
    )
    with pytest.raises(InputError) as caught:
        KindPolicy(row(schema)).check(args)
    assert caught.value.details["field"] == field
    message = caught.value.message()
    assert message["en"].endswith(en)
    assert message["zh"].endswith(zh)
