"""What a plugin may add to the dashboard: pages in the rail and panels on the page of a task, as data that the dashboard draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import msgspec

from taskmill.words import Words

Form = Literal["text", "json", "code"]


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a panel is told of its task: JSON is decoded; `result` is None before the end, `error` is the last one or None.

    `error` is a mapping with `type`, `message` and, where its author gave both languages, `message_zh`.
    """

    id: UUID
    kind: str
    queue: str
    state: str
    attempt: int
    max_attempts: int
    args: Any
    meta: Any
    result: Any
    error: Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a panel. A `text` or `code` has a str or Words, `json` anything that can be encoded."""

    label: Words | str
    value: Any
    form: Form = "text"


@dataclass(frozen=True, slots=True)
class Panel:
    """A title, and a function that makes the rows each time somebody looks.

    On the page of a task it gets a `TaskFacts`, and `kinds` says for which tasks (empty: all); on a page of its own it gets
    nothing. A coroutine function runs in the event loop of the API, a plain one in a thread. No rows: the page of a task leaves it out.
    """

    title: Words
    rows: Callable[..., Any]
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of its own at `/dashboard/plugin/<plugin>/<name>`, with an entry in the rail."""

    name: str
    title: Words
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Answer of `taskmill_dashboard`."""

    pages: Sequence[Page] = ()
    task_panels: Sequence[Panel] = ()
