"""What becomes of a task that somebody waits for, and what the SQL function refuses, in words of both languages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from taskmill import TaskCancelled, TaskFailed
from taskmill.errors import Code, NotCompletedError, TaskmillError
from taskmill.services.tasks.guests import Refused, refused
from taskmill.words import speak

TASK = UUID(int=7)
ERROR = {"type": "ValueError", "message": "no such address"}


@pytest.mark.parametrize(
    ("error", "en", "zh"),
    [
        (TaskFailed(TASK, "mail.send", ERROR), f"the task mail.send {TASK} failed: ValueError: no such address", "失败"),
        (TaskCancelled(TASK, "mail.send"), f"the task mail.send {TASK} was cancelled", "被取消"),
        (TaskCancelled(TASK, "", None), f"the task {TASK} was cancelled", "被取消"),
    ],
)
def test_an_end_says_what_happened(error: NotCompletedError, en: str, zh: str) -> None:
    assert str(error) == en
    speak("zh")
    assert zh in str(error)
    assert isinstance(error, NotCompletedError)


@pytest.mark.parametrize(
    ("said", "zh", "code", "details"),
    [
        (
            "QUEUE_FULL: 5 tasks wait in queue mail, the limit",
            "",
            Code.QUEUE_FULL,
            {"limit": 5, "waiting": 5, "queue": "mail"},
        ),
        ("QUEUE_LIMIT: there are 20 queues, the limit; not made: a", "", Code.QUEUE_LIMIT, {"limit": 20, "queue": "a"}),
        ("UNIQUE_TAKEN: the unique key a: b is taken by the task x", "", Code.UNIQUE_TAKEN, {"key": "a: b", "id": "x"}),
        ("KIND_NOT_FOUND: unknown task kind: a.b", "", Code.KIND_NOT_FOUND, {"kind": "a.b", "known": ""}),
        ("UNIQUE_BUSY: goes from hand to hand", "", Code.UNIQUE_BUSY, {"key": ""}),
        ("SEQUENCE_BUSY: another transaction submits to the sequence k", "", Code.SEQUENCE_BUSY, {"seconds": 1.0}),
        (f"PARENT_NOT_FOUND: there is no task {TASK} to depend on", "", Code.PARENT_NOT_FOUND, {"id": str(TASK)}),
        (
            "INVALID_REQUEST: options.tags: too many",
            "INVALID_REQUEST：options.tags：太多",
            Code.INVALID_REQUEST,
            {"field": "tags"},
        ),
        ("TASK_NOT_FOUND: it has gone", "TASK_NOT_FOUND：没有了", Code.TASK_NOT_FOUND, {"field": "request"}),
        ("invalid input syntax for type timestamp", "", Code.INVALID_REQUEST, {"field": "request"}),
        ("NEW_CODE: from a newer database", "NEW_CODE：更新的", Code.INVALID_REQUEST, {"field": "request"}),
    ],
)
def test_what_the_function_says_becomes_the_error_that_rest_has(
    said: str, zh: str, code: Code, details: dict[str, Any]
) -> None:
    error = refused(Refused(said, zh, 0), [])
    assert isinstance(error, TaskmillError)
    assert error.code is code
    assert {name: error.details[name] for name in details} == details
    assert all(error.message().values())
