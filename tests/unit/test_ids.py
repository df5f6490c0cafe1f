"""Identifiers are ordinary UUIDs of version 7, however they are made."""

from __future__ import annotations

import copy
import pickle
from uuid import RFC_4122, UUID, SafeUUID

import msgspec

from taskmill.ids import as_id, new_id


def test_a_new_identifier_is_a_uuid_of_version_7_as_the_standard_library_makes_them() -> None:
    made = new_id()
    known = UUID(str(made))
    assert type(made) is UUID
    assert (made, hash(made), repr(made), made.bytes) == (known, hash(known), repr(known), known.bytes)
    assert (made.version, made.variant, made.is_safe) == (7, RFC_4122, SafeUUID.unknown)
    assert [copy.deepcopy(made), pickle.loads(pickle.dumps(made)), as_id(str(made))] == [made] * 3  # noqa: S301 - 自己刚写的
    assert msgspec.json.decode(msgspec.json.encode(made), type=UUID) == made


def test_identifiers_are_in_the_order_in_which_they_were_made() -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
