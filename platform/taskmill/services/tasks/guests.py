"""Submits in the transaction of an application: checked here, stored by `taskmill.submit_tasks` on the connection that it gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from taskmill.errors import (
    ERRORS,
    Code,
    ConflictError,
    InputError,
    LimitError,
    NotFoundError,
    TaskmillError,
    UnavailableError,
    placed,
)
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.services.tasks.submitted import Submitted
from taskmill.services.tasks.unique import busy
from taskmill.stores import guests
from taskmill.stores.tasks.submit import NewTask
from taskmill.stores.tasks.unique import KeyHeldError
from taskmill.words import Words

# 函数说的话里有哪些事实，以及是哪一种错误；它的话变了，测试会知道
_SAID: Final[dict[Code, tuple[type[TaskmillError], str]]] = {
    Code.UNIQUE_TAKEN: (ConflictError, r"the unique key (?P<key>.*) is taken by the task (?P<id>\S+)"),
    Code.QUEUE_FULL: (LimitError, r"(?P<limit>(?P<waiting>\d+)) tasks wait in queue (?P<queue>\S+), the limit"),
    Code.QUEUE_LIMIT: (LimitError, r"there are (?P<limit>\d+) queues, the limit; not made: (?P<queue>.*)"),
    Code.PARENT_NOT_FOUND: (InputError, r"there is no task (?P<id>\S+) to depend on"),
    Code.KIND_NOT_FOUND: (NotFoundError, r"unknown task kind: (?P<kind>.*?)(?P<known>)"),
}
_NUMBERS: Final = frozenset({"limit", "waiting"})
_FIELD: Final = re.compile(r"(?P<field>[^:]+): (?P<reason>.*)")
_BY_STATUS: Final[dict[int, type[TaskmillError]]] = {
    404: NotFoundError,
    409: ConflictError,
    429: LimitError,
    503: UnavailableError,
}


class Refused(msgspec.Struct, frozen=True):
    """What the function answers if it stored nothing: `CODE: words`, the same in Chinese, and of which request."""

    error: str
    error_zh: str
    index: int


_ANSWER: Final = msgspec.json.Decoder(list[Submitted] | Refused)


class GuestSubmit:
    """Submits on connections that are not ours. Nothing is ticketed: nobody but the caller knows of the commit, the stager sees it."""

    def __init__(self, submit: SubmitService) -> None:
        self._submit = submit

    async def submit(self, connection: object, requests: Sequence[SubmitRequest]) -> list[Submitted]:
        """Store all tasks or none, as part of the transaction of `connection`; errors as of `SubmitService.submit_many`.

        After such an error the transaction goes on as if nothing had been asked. Errors of the driver are raised as they are.
        """
        guests.guest_of(connection)  # 不认识的先说，别的都不做
        tasks = await self.prepare(requests)
        return answered(tasks, await guests.call_async(connection, written(requests)))

    async def prepare(self, requests: Sequence[SubmitRequest]) -> list[NewTask]:
        """Check all, without storing anything but queues that are new: made in the caller's transaction, they would hold up others."""
        tasks: list[NewTask] = []
        for index, request in enumerate(requests):
            with placed(index):
                tasks.append(await self._submit.prepare(request))
        await self._submit.know({task.queue for task in tasks})
        return tasks


def stored(connection: object, requests: Sequence[SubmitRequest], tasks: Sequence[NewTask]) -> list[Submitted]:
    """The second half of a submit, in a thread that has the connection and no event loop; `tasks`: what `prepare` made of the requests."""
    return answered(tasks, guests.call(connection, written(requests)))


def written(requests: Sequence[SubmitRequest]) -> str:
    """Return the requests as the function takes them."""
    return msgspec.json.encode(requests).decode()


def answered(tasks: Sequence[NewTask], answer: str) -> list[Submitted]:
    """Return what became of the tasks; raises what the function said no with, `index` in its details."""
    found = _ANSWER.decode(answer)
    if isinstance(found, Refused):
        error = refused(found, tasks[found.index : found.index + 1])
        error.details["index"] = found.index
        raise error
    for task, each in zip(tasks, found, strict=True):
        each.queue = task.queue
    return found


def refused(said: Refused, tasks: Sequence[NewTask]) -> TaskmillError:
    """Return the error that the words of the function stand for; `tasks`: the one that it refused."""
    name, _, english = said.error.partition(": ")
    if name not in Code.__members__:  # PostgreSQL 自己的话，例如读不懂的时刻
        return InputError(Code.INVALID_REQUEST, field="request", reason=said.error)
    code = Code(name)
    if code in {Code.UNIQUE_BUSY, Code.SEQUENCE_BUSY}:
        return busy(tasks, KeyHeldError(sequence=code is Code.SEQUENCE_BUSY))
    sort, form = _SAID.get(code, (_BY_STATUS.get(ERRORS[code].status, InputError), ""))
    if (match := re.fullmatch(form, english)) is not None:
        told = {name: int(value) if name in _NUMBERS else value for name, value in match.groupdict().items()}
        return sort(code, **told, **_place(tasks, told)) if code is Code.PARENT_NOT_FOUND else sort(code, **told)
    chinese = said.error_zh.partition("：")[2]
    if (match := _FIELD.fullmatch(english)) is None:
        return sort(code, field="request", reason=Words(zh=chinese, en=english))
    words = Words(zh=chinese.partition("：")[2], en=match["reason"])
    return sort(code, field=match["field"].removeprefix("options."), reason=words, kind=tasks[0].kind if tasks else "?")


def _place(tasks: Sequence[NewTask], told: Mapping[str, int | str]) -> dict[str, str]:
    """它是这个任务等的第几个，与 REST 说的一样。"""
    parents = [str(parent) for task in tasks if task.order is not None for parent in task.order.parents]
    return {"field": next((f"depends_on[{n}]" for n, parent in enumerate(parents) if parent == told["id"]), "depends_on")}
