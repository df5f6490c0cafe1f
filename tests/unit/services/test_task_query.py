"""The filter language: what each word means, and that no text is an accident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from taskmill.errors import Code, InputError
from taskmill.services import task_query
from taskmill.services.tasks.service import TaskFilter
from taskmill.states import State

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ID = "01890000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("   ", {}),
        ("state:running,retryable", {"state": "running,retryable"}),
        ("queue:mail kind:a.b tag:vip", {"queue": "mail", "kind": "a.b", "tag": "vip"}),
        ('tag:"a b"', {"tag": "a b"}),
        (f"schedule:{ID}", {"schedule_id": UUID(ID)}),
        ("created:>2h", {"created_after": NOW - timedelta(hours=2)}),
        ("created:<30s", {"created_before": NOW - timedelta(seconds=30)}),
        ("created:<2026-01-01", {"created_before": datetime(2026, 1, 1, tzinfo=UTC)}),
        ("created:7d..1d", {"created_after": NOW - timedelta(days=7), "created_before": NOW - timedelta(days=1)}),
        ("created:>2026-01-01T08:00+08:00", {"created_after": datetime(2026, 1, 1, tzinfo=UTC)}),
        ("started:<10m", {"started_before": NOW - timedelta(minutes=10)}),
        ("finished:1d..1h", {"finished_after": NOW - timedelta(days=1), "finished_before": NOW - timedelta(hours=1)}),
        ("created:>1w", {"created_after": NOW - timedelta(weeks=1)}),
    ],
)
def test_what_a_text_means(text: str, wanted: dict[str, Any]) -> None:
    found = task_query.parse(text, NOW)
    assert found.task_id is None
    for name in TaskFilter.__struct_fields__:
        if name not in {"page", "page_size", "cursor"}:
            assert getattr(found.filter, name) == wanted.get(name, UNSET), name


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, ""),
        ({"page": "2", "queue": ""}, ""),
        ({"state": "running,retryable", "queue": "mail", "kind": "a.b"}, "state:running,retryable queue:mail kind:a.b"),
        ({"tag": "a b", "schedule_id": ID}, f'tag:"a b" schedule:{ID}'),
        ({"finished_after": "2026-01-01T00:00:00Z"}, "finished:>2026-01-01T00:00:00Z"),
        ({"created_after": "2026-01-01T00:00:00Z"}, "created:>2026-01-01T00:00:00Z"),
        ({"created_before": "2026-01-01T08:00:00+08:00"}, "created:<2026-01-01T08:00:00+08:00"),
        (
            {"created_before": "2026-01-01T00:00:00Z", "created_after": "2025-12-31T00:00:00Z"},
            "created:2025-12-31T00:00:00Z..2026-01-01T00:00:00Z",
        ),
    ],
)
def test_the_parameters_of_the_api_are_words_and_mean_the_same(given: dict[str, str], text: str) -> None:
    assert task_query.worded(given) == text
    wanted = {name: value for name, value in given.items() if value and name != "page"}
    assert task_query.parse(text, NOW).filter == msgspec.convert(wanted, TaskFilter)


@pytest.mark.parametrize("text", [ID, f"id:{ID}", f"queue:a {ID}"])
def test_an_id_is_one_task(text: str) -> None:
    assert task_query.parse(text, NOW).task_id == UUID(ID)


@pytest.mark.parametrize(
    "text", ["created:>0000-01-01", "created:>3000-01-01", "created:>", "created:x..y", "created:>2y", "id:x", "schedule:x"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        task_query.parse(text, NOW)
    assert refused.value.code is Code.INVALID_REQUEST


@given(st.text(alphabet=st.sampled_from('stateque:kind,"<>.-0123 dhm\x00\u202e')) | st.text())
def test_any_text_is_a_filter_or_is_refused_in_words(text: str) -> None:
    refused: InputError | None = None
    try:
        task_query.parse(text, NOW)
    except InputError as error:
        refused = error
    assert refused is None or " at character " in refused.message()["en"]


@given(st.sampled_from(list(State)), st.text(alphabet="ab:, ", max_size=10))
def test_states_are_replaced_and_the_rest_stays(state: State, rest: str) -> None:
    made = task_query.with_states(f"state:running {rest}", state.value)
    assert made.startswith(f"state:{state.value}")
    assert task_query.with_states(made, "") == " ".join(word for word in rest.split() if not word.startswith("state:"))


@pytest.mark.parametrize(("value", "word"), [("a", "queue:a"), ("a b", 'queue:"a b"')])
def test_a_word_is_written_as_it_is_read(value: str, word: str) -> None:
    assert task_query.quoted("queue", value) == word
    assert task_query.parse(word, NOW).filter.queue == value
