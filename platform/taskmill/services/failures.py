"""Failures, grouped by what makes them the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from taskmill import constants as c
from taskmill.clock import Timestamp
from taskmill.errors import Code, NotFoundError
from taskmill.models.failure import Failure
from taskmill.services import constants as svc
from taskmill.services.page import Page
from taskmill.services.tasks import view as task_view
from taskmill.services.tasks.service import Aware, Name, given
from taskmill.services.tasks.view import TaskSummary
from taskmill.services.view import view
from taskmill.states import State
from taskmill.stores import failure as store
from taskmill.stores.database import Database
from taskmill.stores.failure import FailureQuery
from taskmill.stores.tasks.lists import page as lists
from taskmill.stores.tasks.lists.statement import TaskQuery

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
F = TypeVar("F", bound="FailureGroup")
MICROSECOND: Final = timedelta(microseconds=1)


class FailureFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of failures. Left out is UNSET, not None, as in the list of tasks."""

    kind: Annotated[Name, msgspec.Meta(description="Kind of the tasks that failed.")] | UnsetType = UNSET
    queue: Annotated[Name, msgspec.Meta(description="A queue in which it happened.")] | UnsetType = UNSET
    since: Annotated[Aware, msgspec.Meta(description="Only what failed at or after this time, with a zone.")] | UnsetType = (
        UNSET
    )
    page_size: Annotated[int, msgspec.Meta(ge=1, le=c.PAGE_SIZE_MAX, description="Items per page.")] = c.PAGE_SIZE_DEFAULT
    cursor: (
        Annotated[str, msgspec.Meta(pattern="^[0-9]{1,17}-[0-9a-f]{16}$", description="`next_cursor` of the page before.")]
        | UnsetType
    ) = UNSET

    def query(self) -> FailureQuery:
        """Return the conditions for the store."""
        before: tuple[datetime, str] | None = None
        if self.cursor is not UNSET:
            at, _, fingerprint = self.cursor.partition("-")
            before = (EPOCH + min(int(at), _LAST) * MICROSECOND, fingerprint)
        return FailureQuery(kind=given(self.kind), queue=given(self.queue), since=given(self.since), before=before)


_LAST: Final = (datetime(c.TIME_YEARS[1], 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of one kind that failed in the same way: `n` of them, the first and the last when, in which `queues`.

    `message` has names in angle brackets for what changes; `frame` is where the author's code stood, empty if unknown.
    `other`: this group took what came when the kind had too many groups.
    """

    fingerprint: str
    kind: str
    error_type: str
    message: str
    frame: str
    queues: list[str]
    n: int
    first_at: Timestamp
    last_at: Timestamp
    other: bool


class FailureDetail(FailureGroup, frozen=True, kw_only=True):
    """A group with the newest tasks that failed so, as they are now; those that are pruned are left out."""

    tasks: list[TaskSummary]


@dataclass(frozen=True, slots=True)
class GroupTasks:
    """Some tasks of a group, the newest failure first; `more`: there are more of them."""

    ids: list[UUID]
    more: bool


class FailureService:
    """What the API shows of failures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, wanted: FailureFilter) -> Page[FailureGroup]:
        """Return one page, what failed last first; a group that fails again while one pages moves to the front."""
        async with self._database.sessions.begin() as session, lists.bounded(session):
            rows = await store.fetch_page(session, wanted.query(), limit=wanted.page_size + 1)
        shown = rows[: wanted.page_size]
        more = len(rows) > wanted.page_size
        return Page(
            items=[_view(FailureGroup, row) for row in shown],
            page=None,
            page_size=wanted.page_size,
            next_cursor=_cursor(shown[-1]) if more else None,
        )

    async def get(self, fingerprint: str) -> FailureDetail:
        """Return one group with its newest tasks; NotFoundError FAILURE_NOT_FOUND."""
        async with self._database.sessions.begin() as session, lists.bounded(session):
            row = await store.fetch(session, fingerprint)
            if row is None:
                raise NotFoundError(Code.FAILURE_NOT_FOUND, fingerprint=fingerprint)
        query = TaskQuery(ids=frozenset(row.task_ids))
        async with lists.reading(self._database) as connection:
            tasks = await lists.fetch_after(connection, query, limit=len(row.task_ids))
        place = {task_id: number for number, task_id in enumerate(row.task_ids)}
        newest = sorted(tasks, key=lambda task: place[task["id"]])
        return _view(FailureDetail, row, tasks=[task_view.summary(task) for task in newest])

    async def tasks(self, fingerprint: str, states: Collection[State], *, limit: int) -> GroupTasks:
        """Return up to `limit` tasks of a group that are in one of these states and failed so when they last did.

        NotFoundError FAILURE_NOT_FOUND; the group of what was too much for its kind names no tasks.
        """
        async with self._database.sessions.begin() as session, lists.bounded(session):
            if await store.fetch(session, fingerprint) is None:
                raise NotFoundError(Code.FAILURE_NOT_FOUND, fingerprint=fingerprint)
            found = await store.fetch_tasks(session, fingerprint, states, looked=svc.GROUP_LOOKED_MAX, limit=limit + 1)
        return GroupTasks(found[:limit], more=len(found) > limit)

    async def possible(self, group: FailureGroup, actions: Mapping[str, Collection[State]]) -> list[str]:
        """Return those actions for which the group may have tasks in the right states; a large group is taken to have some."""
        if group.other:
            return []
        if group.n > svc.GROUP_LOOKED:
            return list(actions)
        found: list[str] = []
        async with self._database.sessions.begin() as session, lists.bounded(session):
            for name, states in actions.items():
                if await store.fetch_tasks(session, group.fingerprint, states, looked=svc.GROUP_LOOKED, limit=1):
                    found.append(name)
        return found


def _cursor(row: Failure) -> str:
    return f"{(row.last_at - EPOCH) // MICROSECOND}-{row.fingerprint}"


def _view(form: type[F], row: Failure, **given: object) -> F:
    other = not (row.error_type or row.message or row.frame)
    return view(form, row, queues=sorted(row.queues), other=other, **given)
