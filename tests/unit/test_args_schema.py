"""What the validator of a submit accepts, the decoder of the worker accepts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from taskmill.args_schema import compiled, told
from taskmill.errors import UnfitError
from taskmill.plugin.call_plan import CallPlan


async def typed(
    n: int = 0,
    i: UUID | None = None,
    d: dt.date | None = None,
    m: Decimal | None = None,
    b: bytes | None = None,
    td: dt.timedelta | None = None,
    at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None,
    f: float = 0.0,
    tags: Annotated[tuple[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")], ...], msgspec.Meta(max_length=2)] = (),
) -> None: ...


class Visit(pydantic.BaseModel):
    url: pydantic.HttpUrl | None = None
    at: dt.datetime | None = None
    ip: pydantic.IPvAnyAddress | None = None
    n: int = 0


async def visiting(visit: Visit) -> None: ...


GOOD: list[tuple[Any, dict[str, Any]]] = [
    (typed, {"n": 1.0}), (typed, {"n": 10**30}), (typed, {"i": "12345678-1234-5678-1234-567812345678"}),
    (typed, {"d": "2026-02-28"}), (typed, {"m": "1.50"}), (typed, {"b": "YQ=="}), (typed, {"td": "PT5M"}),
    (typed, {"at": "2026-02-28T00:00:00Z"}), (typed, {"f": 1}), (typed, {"tags": ["a", "b"]}),
    (visiting, {"url": "http://exämple.org/ü", "n": 2.0}), (visiting, {"at": "2026-01-01T00:00:00Z"}),
]  # fmt: skip
BAD: list[tuple[Any, dict[str, Any]]] = [
    (typed, {"n": 1.5}), (typed, {"n": "1"}), (typed, {"i": "nope"}), (typed, {"d": "2026-02-30"}), (typed, {"m": "x"}),
    (typed, {"b": "%%"}), (typed, {"b": "YQ"}), (typed, {"td": "soon"}), (typed, {"at": "2026-02-30T00:00:00Z"}),
    (typed, {"tags": ["A"]}), (typed, {"tags": ["a", "b", "c"]}), (visiting, {"at": "soon"}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "args"), GOOD)
def test_both_accept(function: Any, args: dict[str, Any]) -> None:
    plan = CallPlan.of(function)
    assert compiled(plan.schema()).is_valid(args)
    plan.read(msgspec.json.encode(args))


@pytest.mark.parametrize(("function", "args"), BAD)
def test_both_refuse(function: Any, args: dict[str, Any]) -> None:
    plan = CallPlan.of(function)
    assert not compiled(plan.schema()).is_valid(args)
    with pytest.raises(UnfitError):
        plan.read(msgspec.json.encode(args))


def test_a_whole_number_with_a_point_arrives_as_an_integer() -> None:
    plan = CallPlan.of(typed)
    found = plan.parameters(plan.read(b'{"n": 1.0, "f": 2.0}'))
    assert (found["n"], type(found["n"]), found["f"], type(found["f"])) == (1, int, 2.0, float)


@pytest.mark.parametrize("pattern", [r"\A[a-z]+\Z", r"^(?>a+)b", "("])
def test_a_pattern_that_the_validator_does_not_know_is_no_schema(pattern: str) -> None:
    with pytest.raises(ValueError, match="regex"):
        compiled({"type": "string", "pattern": pattern})


def by_msgspec(pattern: str) -> Any:
    return Annotated[str, msgspec.Meta(pattern=pattern)]


def by_pydantic(pattern: str) -> Any:
    return pydantic.create_model("Made", text=(Annotated[str, pydantic.Field(pattern=pattern)], ...))


CHARS = [chr(number) for number in (*range(0x3100), 0xFEFF)]
DIGITS = {char for char in CHARS if char.isdecimal() and not char.isascii()}
LETTERS = {char for char in CHARS if char.isalnum() and not char.isascii()}
ALIKE = [r"^[0-9]$", r"^[^0-9]$", r"^[ \t\n]$", r"^[^\x00]$", "^.$", r"^\d$", r"^\w$"]
UNLIKE: list[tuple[Callable[[str], Any], str, set[str]]] = [
    *((decoder, pattern, set()) for decoder in (by_msgspec, by_pydantic) for pattern in ALIKE),
    (by_msgspec, r"^\s$", {"\ufeff"}), (by_msgspec, r"^\S$", set("\x1c\x1d\x1e\x1f\x85")),
    (by_pydantic, r"^\s$", {"\ufeff"}), (by_pydantic, r"^\S$", {"\x85"}),
    (by_msgspec, r"^\D$", DIGITS), (by_pydantic, r"^\D$", DIGITS), (by_msgspec, r"^\W$", LETTERS),
]  # fmt: skip


@pytest.mark.parametrize(("decoder", "pattern", "refused"), UNLIKE)
def test_what_a_pattern_accepts_the_decoders_accept_but_for_what_is_documented(
    decoder: Callable[[str], Any], pattern: str, refused: set[str]
) -> None:
    """ECMA 262 is what clients read; docs/guides/plugin-author.md tells where the engines of the decoders differ."""

    async def function(text: Any) -> None: ...

    function.__annotations__ = {"text": decoder(pattern)}
    plan = CallPlan.of(function)
    valid = compiled(plan.schema()).is_valid
    found = set[str]()
    for char in (each for each in CHARS if valid({"text": each})):
        try:
            plan.read(msgspec.json.encode({"text": char}))
        except UnfitError:
            found.add(char)
    assert found == refused


def test_formats_that_no_decoder_reads_are_notes() -> None:
    assert compiled({"type": "string", "format": "email"}).is_valid("anything")


TOLD = [
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "几种都不是：须是 string；须是 null"),
    (
        {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "string"}}}]},
        {"a": 1},
        "几种都不是：须是 string；.a 须是 string",
    ),
    ({"oneOf": [{"type": "integer"}, {"minimum": 0}]}, 1, "不合 oneOf 的要求"),
    ({"const": 3}, 1, "须是 3"),
    ({"uniqueItems": True}, [1, 1], "不得有重复的项"),
    ({"multipleOf": 3}, 4, "须是 3 的倍数"),
    ({"minProperties": 1}, {}, "不得少于 1 个字段"),
    ({"not": {"type": "integer"}}, 1, "不合 not 的要求"),
    (False, 1, "这里不得有值"),
    ({"unevaluatedProperties": False}, {"a": 1}, "没有字段 a"),
]


@pytest.mark.parametrize(("schema", "value", "chinese"), TOLD)
def test_each_language_tells_in_its_own_words(schema: Any, value: Any, chinese: str) -> None:
    words = told(next(iter(compiled(schema).iter_errors(value))), ())
    assert words.zh == chinese
    assert words.en != chinese
    assert words.en.isascii()


def test_of_alternatives_each_is_told_with_what_it_lacks() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    words = told(next(iter(compiled(schema).iter_errors(1))), ())
    assert words.en == 'fits none of the alternatives: 1 is not of type "string"; 1 is not of type "null"'
