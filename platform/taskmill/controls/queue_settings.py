"""The settings of a queue, each declared once, here: REST, command line, CRD and reference pages are made of them.

A new setting is a field of `QueueSettings`, with its range, and a column of the same name in `models/task_queue.py` with its migration; what
remains is the code that obeys it. Its name says how it is given: `…_s` is a duration in whole seconds.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from taskmill import bounds
from taskmill.clock import Timestamp
from taskmill.controls import rate
from taskmill.controls.rate import Rate
from taskmill.errors import Code, InputError
from taskmill.words import Words

UNLIMITED: Final = Words("不限", "no limit")
RETENTION_S: Final = bounds.Range(0, 10 * 365 * 86_400)  # 再长也不超过平台的保留天数
_SECONDS: Final = "_s"


class Form(Enum):
    """How a setting is written: a number, a duration, starts in a time."""

    NUMBER = auto()
    DURATION = auto()
    RATE = auto()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: what it means, what holds without it, the heading of its column, its range (of a rate: of each part)."""

    meaning: Words
    absent: Words
    head: Words
    bound: bounds.Range | None
    shown: int | None
    name: str = ""
    form: Form = Form.NUMBER

    @property
    def stem(self) -> str:
        """Return the name without its unit, as the command line has it."""
        return self.name.removesuffix(_SECONDS)

    @property
    def option(self) -> str:
        """Return the option of the command line."""
        return "--" + self.stem.replace("_", "-")

    def says(self, nothing: str) -> str:
        """Return the meaning in one English line; `nothing` is how the reader writes that there is none."""
        return f"{self.meaning.en} {nothing}: {self.absent.en}."

    def refusal(self, value: Any) -> tuple[str, Words] | None:
        """Return the field that does not fit, with its place in the setting, and why; None if it fits."""
        if isinstance(value, Rate):
            found = value.refusal()
            return None if found is None else (f"{self.name}.{found[0]}", found[1])
        reason = self.bound.refusal(value) if self.bound is not None and isinstance(value, int) else None
        return None if reason is None else (self.name, reason)


def _setting(
    meaning: Words,
    head: Words,
    *,
    bound: bounds.Range | None = None,
    absent: Words = UNLIMITED,
    shown: int | None = None,
) -> msgspec.Meta:
    """Declare a setting. `shown`: the rank of its column in tables, None: in wide ones only."""
    made = Setting(meaning, absent, head, bound, shown)
    limits = {} if bound is None else (bound.meta().extra_json_schema or {})
    return msgspec.Meta(description=made.says("Null"), extra_json_schema=limits, extra={Setting.__name__: made})


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue: its name, and since when and by whom it is paused."""

    name: str
    paused: bool
    paused_at: Timestamp | None
    paused_by: str | None


class QueueSettings(Queue, frozen=True, kw_only=True):
    """What is set for a queue beside its pause, all of its own fields; null: what holds without it."""

    retention_s: (
        Annotated[
            int,
            _setting(
                Words("已完成的任务保留多久；0：一个也不留。", "How long its finished tasks are kept; 0: none is."),
                Words("保留", "RETENTION"),
                bound=RETENTION_S,
                absent=Words("与平台的保留期相同，那也是上限", "as long as the platform keeps any, which is also the most"),
                shown=3,
            ),
        ]
        | None
    )
    max_running: (
        Annotated[
            int,
            _setting(
                Words("同时执行的任务数，所有工作进程合计。", "Tasks of the queue that run at once, over all workers."),
                Words("并发上限", "MAX_RUNNING"),
                bound=bounds.LIMIT,
            ),
        ]
        | None
    )
    max_running_per_key: (
        Annotated[
            int,
            _setting(
                Words(
                    "每个 concurrency_key 同时执行的任务数；没有键的任务不计。",
                    "Tasks of each concurrency_key that run at once; a task without a key counts for none.",
                ),
                Words("每键上限", "PER_KEY"),
                bound=bounds.LIMIT,
            ),
        ]
        | None
    )
    rate: (
        Annotated[
            Rate,
            _setting(
                Words(
                    "每段时间内开始的任务数，按 PostgreSQL 的时钟；一阵至多 burst 个（默认与 limit 相同）；重试也算一次。",
                    "Starts in a time by PostgreSQL's clock, at most `burst` at once (default: as many as the limit); a retry is a start.",
                ),
                Words("速率", "RATE"),
            ),
        ]
        | None
    )
    rate_per_key: (
        Annotated[
            Rate,
            _setting(
                Words(
                    "每个 concurrency_key 的速率，写法与 rate 相同；没有键的任务不计。",
                    "The same as `rate` for each concurrency_key; a task without a key counts for none.",
                ),
                Words("每键速率", "KEY_RATE"),
            ),
        ]
        | None
    )
    max_backlog: (
        Annotated[
            int,
            _setting(
                Words(
                    "等待执行的任务数；超过它的提交被拒绝（QUEUE_FULL），一批要么全收要么全拒。",
                    "Available tasks that may wait; a submit over it gets QUEUE_FULL, a batch as a whole.",
                ),
                Words("积压上限", "MAX_BACKLOG"),
                bound=bounds.Range(1, 100_000_000),
            ),
        ]
        | None
    )


def _declared() -> dict[str, tuple[Any, Setting]]:
    found: dict[str, tuple[Any, Setting]] = {}
    hints = typing.get_type_hints(QueueSettings, include_extras=True)
    for name in QueueSettings.__annotations__:
        hint = hints[name]
        kind, meta = typing.get_args(typing.get_args(hint)[0])
        given: Setting = meta.extra[Setting.__name__]
        form = Form.RATE if kind is Rate else Form.DURATION if name.endswith(_SECONDS) else Form.NUMBER
        made = Setting(given.meaning, given.absent, given.head, given.bound, given.shown, name, form)
        found[name] = (hint, made)
    return found


_DECLARED: Final = _declared()
SETTINGS: Final[Mapping[str, Setting]] = {name: setting for name, (_, setting) in _DECLARED.items()}
RATE_FIELDS: Final = tuple(rate.BOUNDS)


class _Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall hold for a queue; a field that is left out stays as it is, null takes a setting away."""

    paused: bool | msgspec.UnsetType = msgspec.UNSET

    def check(self) -> None:
        """Raise InputError INVALID_REQUEST unless each setting is within its range."""
        for name, setting in SETTINGS.items():
            if (found := setting.refusal(getattr(self, name))) is not None:
                raise InputError(Code.INVALID_REQUEST, field=found[0], reason=found[1])

    def values(self) -> dict[str, Any]:
        """Return the fields that were given, by column."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not msgspec.UNSET}
        return {
            name: msgspec.to_builtins(value.whole()) if isinstance(value, Rate) else value for name, value in given.items()
        }


if TYPE_CHECKING:
    QueuePolicyChange = _Change
else:
    # 每个设置都可以不给：与声明同类型，默认「没有给」
    QueuePolicyChange = msgspec.defstruct(
        "QueuePolicyChange",
        [(name, hint | msgspec.UnsetType, msgspec.UNSET) for name, (hint, _) in _DECLARED.items()],
        bases=(_Change,),
        module=__name__,
        namespace={"__doc__": _Change.__doc__},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
