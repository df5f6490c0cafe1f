"""Reading tasks to submit: a batch is taken apart one task at a time, so that it never lies in memory as a tree.

JSON becomes many times its size as Python objects (`[],` takes 72 bytes), and a body may be far larger than what its tasks
may be. So a task is looked at by its length before it is decoded, and gone again before the next one is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated

import msgspec

from taskmill import constants as c
from taskmill.api import body
from taskmill.errors import Code, InputError
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings


class Batch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Many tasks at once: all are accepted or none."""

    tasks: Annotated[list[SubmitRequest], msgspec.Meta(min_length=1)]


class RawBatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same, each task still as the client wrote it."""

    tasks: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


_SUBMIT = msgspec.json.Decoder(SubmitRequest)
_BATCH = msgspec.json.Decoder(RawBatch)


class Tasks:
    """The tasks of a batch, to be gone through once: each is decoded when it is asked for, and dropped with its bytes."""

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
            yield _decoded(self._raw.popleft(), self._args_max_bytes, f"$.tasks[{index}]")


async def one(request: body.AnyRequest, settings: Settings) -> SubmitRequest:
    """Return the task of a body; errors as in `body.read_json`, and ARGS_TOO_LARGE."""
    return _decoded(await body.read_typed(request, settings.body_max_bytes), settings.args_max_bytes)


async def many(request: body.AnyRequest, settings: Settings) -> Tasks:
    """Return the tasks of a body; what is wrong around them is raised here, what is wrong in them as they are gone through."""
    raw = await body.read_json(request, _BATCH, settings.batch_body_max_bytes)
    return Tasks(raw.tasks, settings.args_max_bytes)


def _decoded(raw: bytes | bytearray | msgspec.Raw, args_max_bytes: int, at: str = "$") -> SubmitRequest:
    size = len(raw)
    # 写成 \u00ff 的一个字符占六字节：比这还长，其中的参数必定过长（或全是空白）
    if size > c.TASK_RAW_FACTOR * (args_max_bytes + c.META_MAX_BYTES) + c.TASK_RAW_REST:
        raise InputError(Code.ARGS_TOO_LARGE, field=f"{at}.args".removeprefix("$."), size=size, limit=args_max_bytes)
    return body.decode(raw, _SUBMIT, at)
