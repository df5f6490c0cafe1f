"""The key of a unique task is the same text here and in PostgreSQL, whatever the args."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskmill.controls.unique_key import canonical
from taskmill.testing.databases import opened

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_canonical_json_is_the_text_of_a_jsonb(taskmill_database_url: str) -> None:
    with asyncio.Runner() as runner:
        context = opened(taskmill_database_url)
        database = runner.run(context.__aenter__())

        @given(VALUE)
        def same(value: Any) -> None:
            raw = json.dumps(value).encode()
            assert canonical(raw) == runner.run(database.pool.fetchval("select $1::jsonb::text", raw))

        try:
            same()
        finally:
            runner.run(context.__aexit__(None, None, None))
