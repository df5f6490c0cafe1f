"""The form of a kind: which field each schema gets, what is typed as args, and where what is wrong is told."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill import args_schema
from taskmill.dashboard.draft import Draft
from taskmill.dashboard.schema_form import FIELDS_MAX, Field, Form, fields_of, whole
from taskmill.services.kinds import policy_of
from tests.support.rich_kind import bill

SCHEMA = bill.call.schema()
GOOD = {"args/text": "a\r\nb", "args/order": "7"}


def by_name(root: Field) -> dict[str, Field]:
    return {field.name: field for field in root.each()}


def drafted(typed: dict[str, str], schema: Any = SCHEMA) -> Draft:
    return Draft(fields_of(schema), {name: [value] for name, value in typed.items()})


@pytest.mark.parametrize(
    ("name", "form", "required"),
    [
        ("text", Form.TEXT, True),
        ("order", Form.NUMBER, True),
        ("code", Form.LINE, False),
        ("rate", Form.NUMBER, False),
        ("paid", Form.BOOLEAN, False),
        ("colour", Form.CHOICE, False),
        ("lines", Form.LIST, False),
        ("counts", Form.LIST, False),
        ("address", Form.GROUP, False),
        ("address/street", Form.TEXT, True),
        ("address/zip", Form.NUMBER, False),
        ("extra", Form.JSON, False),
        ("either", Form.JSON, False),
    ],
)
def test_each_type_has_its_field(name: str, form: Form, required: bool) -> None:
    field = by_name(fields_of(SCHEMA))[f"args/{name}"]
    assert (field.form, field.required) == (form, required)


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({"type": ["string", "null"], "maxLength": 9}, Form.LINE),
        ({"type": ["string", "integer"]}, Form.JSON),
        ({"const": 5}, Form.CHOICE),
        ({"enum": list(range(300))}, Form.JSON),
        ({"type": "array", "items": {"enum": ["a"]}}, Form.LIST),
        ({"type": "array", "items": {"type": ["string", "null"]}}, Form.JSON),
        ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, Form.JSON),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, Form.JSON),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}}, Form.JSON),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, Form.BOOLEAN),
        ({"oneOf": [{"type": "integer"}, {"type": "boolean"}, {"type": "null"}]}, Form.JSON),
        ({"allOf": [{"type": "string"}]}, Form.JSON),
        ({"$ref": "#/$defs/nothing"}, Form.JSON),
        ({"$ref": "#/$defs/loop"}, Form.JSON),
        (True, Form.JSON),
    ],
)
def test_what_has_no_plain_field_is_json(schema: Any, form: Form) -> None:
    defs = {"loop": {"$ref": "#/$defs/loop"}}
    root = fields_of({"type": "object", "properties": {"x": schema}, "$defs": defs})
    assert by_name(root)["args/x"].form is form


@pytest.mark.parametrize("schema", [{}, True, {"type": "object"}, {"type": "array"}, {"anyOf": [{"type": "object"}]}])
def test_args_without_names_are_one_box(schema: Any) -> None:
    assert fields_of(schema) == whole()


def test_a_type_within_itself_ends_and_so_does_a_wide_one() -> None:
    node = {"type": "object", "properties": {f"n{n}": {"$ref": "#/$defs/node"} for n in range(9)}}
    root = fields_of({"$ref": "#/$defs/node", "$defs": {"node": node}})
    forms = [field.form for field in root.each()]
    assert Form.JSON in forms
    assert forms.count(Form.GROUP) <= FIELDS_MAX


@pytest.mark.parametrize(
    ("typed", "args"),
    [
        ({}, {"text": "a\nb", "order": 7}),
        ({"args/order": " 12345678901234567890 "}, {"text": "a\nb", "order": 12345678901234567890}),
        ({"args/rate": "2"}, {"text": "a\nb", "order": 7, "rate": 2}),
        ({"args/paid": "true"}, {"text": "a\nb", "order": 7, "paid": True}),
        ({"args/colour": "3"}, {"text": "a\nb", "order": 7, "colour": 3}),
        ({"args/colour": '"green"'}, {"text": "a\nb", "order": 7, "colour": "green"}),
        ({"args/lines": "x\r\n\r\n y"}, {"text": "a\nb", "order": 7, "lines": ["x", " y"]}),
        ({"args/counts": "1\n2"}, {"text": "a\nb", "order": 7, "counts": [1, 2]}),
        ({"args/address/zip": "9"}, {"text": "a\nb", "order": 7, "address": {"zip": 9}}),
        ({"args/extra": '{"a": 1}'}, {"text": "a\nb", "order": 7, "extra": {"a": 1}}),
        ({"args/either": '"x"', "args/nothing": "ignored"}, {"text": "a\nb", "order": 7, "either": "x"}),
    ],
)
def test_what_is_typed_becomes_args(typed: dict[str, str], args: dict[str, Any]) -> None:
    draft = drafted(GOOD | typed)
    assert (draft.args, draft.refused) == (args, {})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": ["string", "null"]}, {"x": None}),
        ({"type": "array", "items": {"type": "string"}}, {"x": []}),
        ({"type": "object", "properties": {"y": {"type": "string"}}}, {"x": {}}),
        ({"type": "string"}, {}),
    ],
)
def test_a_needed_field_that_is_left_empty(schema: Any, value: Any) -> None:
    assert drafted({}, {"type": "object", "properties": {"x": schema}, "required": ["x"]}).args == value


@pytest.mark.parametrize(
    ("typed", "refused"),
    [
        ({"args/order": "x"}, {"args/order": ["must be a number such as 7 or 1.5"]}),
        ({"args/order": "true"}, {"args/order": ["must be a number such as 7 or 1.5"]}),
        ({"args/order": "007"}, {"args/order": ["must be a number such as 7 or 1.5"]}),
        ({"args/order": "0"}, {"args/order": ["0 is less than the minimum of 1"]}),
        ({"args/order": "", "args/text": ""}, {"args/order": ["must be filled in"], "args/text": ["must be filled in"]}),
        ({"args/code": "a"}, {"args/code": ['"a" does not match "^[A-Z]+$"']}),
        ({"args/paid": "yes"}, {"args/paid": ["is none of the choices"]}),
        ({"args/counts": "1\n\nx"}, {"args/counts": ["item 2: must be a number such as 7 or 1.5"]}),
        ({"args/counts": "1\n1.5"}, {"args/counts": ['item 2: 1.5 is not of type "integer"']}),
        ({"args/counts": "1\n2\n3\n4"}, {"args/counts": ["[1,2,3,4] has more than 3 items"]}),
        ({"args/address/zip": "0"}, {"args/address/street": ["must be filled in"], "args/address/zip": ["0 is less than the minimum of 1"]}),
        ({"args/address/street": "x"}, {"args/address/street": ['"x" is shorter than 2 characters']}),
        ({"args/extra": "{"}, {"args/extra": ["not JSON: Input data was truncated"]}),
        ({"args/extra": '{"a": "b"}'}, {"args/extra": ['.a: "b" is not of type "integer"']}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_field(typed: dict[str, str], refused: dict[str, list[str]]) -> None:
    draft = drafted(GOOD | typed)
    draft.check(policy_of(bill).refusals(draft.args))
    assert {name: [words.en for words in told] for name, told in draft.refused.items()} == refused


def test_names_that_look_like_paths_stay_apart() -> None:
    schema = {
        "type": "object",
        "properties": {"a/b": {"type": "string"}, "a~b": {"type": "string"}, "a b": {"type": "string"}},
    }
    draft = drafted({"args/a~1b": "1", "args/a~0b": "2", "args/a b": "3"}, schema)
    assert draft.args == {"a/b": "1", "a~b": "2", "a b": "3"}
    draft.refuse(("a/b",), args_schema.reasons.NEEDED)
    draft.refuse(("nobody", 3), args_schema.reasons.NEEDED)
    assert set(draft.refused) == {"args/a~1b", "args"}
    assert not any(set(field.id) & set(" %/") for field in draft.root.each())


def test_all_args_as_json() -> None:
    draft = Draft(whole(), {"args": ['{"text": "a", "order": 0}']})
    draft.check(policy_of(bill).refusals(draft.args))
    assert {name: [words.en for words in told] for name, told in draft.refused.items()} == {
        "args": [".order: 0 is less than the minimum of 1"]
    }
