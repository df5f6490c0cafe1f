"""Reading tasks to submit: a batch is taken apart one task at a time, so that it never lies in memory as a tree.

JSON becomes many times its size as Python objects (`[],` takes 72 bytes), and a body may be far larger than what its tasks
may be. So tasks are counted before there is a list of them, a task is looked at by its length before it is decoded, and
gone again before the next one is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec

from taskmill import constants as c
from taskmill.api import body
from taskmill.api import constants as ac
from taskmill.errors import Code, InputError
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings

T = TypeVar("T")


class Batch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Many tasks at once: all are accepted or none."""

    tasks: Annotated[list[SubmitRequest], msgspec.Meta(min_length=1)]


class RawBatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same, each task still as the client wrote it."""

    tasks: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


class _Tally(threading.local):
    """解码是同步的：一个线程里同时只数一批。"""

    found = 0
    most = 0


class _EnoughError(Exception):
    """数够了，后面的不必再看。"""


class Head(msgspec.Struct, gc=False):
    """An object whose fields are skipped, so that it costs 16 bytes: it is only counted."""

    def __post_init__(self) -> None:
        """Count it; ends the decoding where nobody needs to know how many there are more."""
        _tally.found += 1
        if _tally.found > _tally.most:
            raise _EnoughError


class Heads(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A batch of which only the number of tasks is of interest."""

    tasks: Annotated[list[Head], msgspec.Meta(min_length=1)]


_tally = _Tally()
_SUBMIT = msgspec.json.Decoder(SubmitRequest)
_BATCH = msgspec.json.Decoder(RawBatch)
_HEADS = msgspec.json.Decoder(Heads)


class Tasks:
    """The tasks of a batch, to be gone through once: each is decoded when it is asked for, and not kept."""

    def __init__(self, raw: list[msgspec.Raw], args_max_bytes: int) -> None:
        self._raw = deque(raw)
        self._args_max_bytes = args_max_bytes
        self._count = len(raw)

    def __len__(self) -> int:
        """Return how many there were."""
        return self._count

    def __iter__(self) -> Iterator[SubmitRequest]:
        """Decode one after the other; errors as in `body.read_json`, and ARGS_TOO_LARGE."""
        for index in range(self._count):
            yield _decoded(self._raw.popleft(), _SUBMIT, self._args_max_bytes, f"$.tasks[{index}]")


async def one(request: body.AnyRequest, settings: Settings) -> SubmitRequest:
    """Return the task of a body; errors as in `body.read_json`, and ARGS_TOO_LARGE."""
    return await with_args(request, settings, _SUBMIT)


async def with_args(request: body.AnyRequest, settings: Settings, decoder: body.Decoder[T]) -> T:
    """Return a body whose largest part is the args of a task; errors as in `body.read_json`, and ARGS_TOO_LARGE."""
    return _decoded(await body.read_typed(request, settings.body_max_bytes), decoder, settings.args_max_bytes)


async def many(request: body.AnyRequest, settings: Settings) -> Tasks:
    """Return the tasks of a body; what is wrong around them is raised here, what is wrong in them as they are gone through.

    Errors as in `body.read_json`, and BATCH_TOO_LARGE, whose `size` is exact up to BATCH_COUNTED_MAX.
    """
    raw = await body.read_typed(request, settings.batch_body_max_bytes)
    size = _counted(raw, max(settings.batch_max_tasks, ac.BATCH_COUNTED_MAX))
    if size > settings.batch_max_tasks:
        raise InputError(Code.BATCH_TOO_LARGE, size=size, limit=settings.batch_max_tasks)
    return Tasks(body.decode(raw, _BATCH).tasks, settings.args_max_bytes)


def _counted(raw: bytes | bytearray, most: int) -> int:
    # msgspec 先建好整个列表才看它的长度：三千万字节的 `0,0,…` 单是列表就占一千兆
    _tally.found, _tally.most = 0, most
    try:
        body.decode(raw, _HEADS)
    except _EnoughError:
        pass
    except InputError as error:
        if str(error.details.get("field")).startswith("tasks["):
            error.details["index"] = _tally.found
        raise
    return _tally.found


def _decoded(raw: bytes | bytearray | msgspec.Raw, decoder: body.Decoder[T], args_max_bytes: int, at: str = "$") -> T:
    size = len(raw)
    # 写成 \u00ff 的一个字符占六字节：比这还长，其中的参数必定过长（或全是空白）
    if size > ac.TASK_RAW_FACTOR * (args_max_bytes + c.META_MAX_BYTES) + ac.TASK_RAW_REST:
        raise InputError(Code.ARGS_TOO_LARGE, field=f"{at}.args".removeprefix("$."), size=size, limit=args_max_bytes)
    return body.decode(raw, decoder, at)
