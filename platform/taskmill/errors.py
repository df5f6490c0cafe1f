"""Every error that a person can meet, with its code, HTTP status, CLI exit code and words in both languages.

    TaskmillError
    ├── InputError          the request is wrong; repeat it corrected
    ├── NotFoundError       the named thing does not exist
    ├── ConflictError       its state forbids the action
    ├── AccessError         no, wrong or insufficient credentials
    ├── LimitError          too much of something; wait or split
    ├── UnavailableError    a dependency is away; repeat later
    ├── SetupError          the installation needs a hand: migrations, configuration
    └── PluginError         a plugin broke its contract

Handlers of tasks raise `Retry`, `Snooze` or `Discard` to say what shall become of the attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from taskmill.codes import ERRORS, Code, ErrorSpec
from taskmill.words import Facts, Words, said

__all__ = [
    "ERRORS",
    "AccessError",
    "Code",
    "ConflictError",
    "Discard",
    "ErrorSpec",
    "InputError",
    "KindError",
    "LimitError",
    "NotCompletedError",
    "NotFoundError",
    "PluginError",
    "Retry",
    "SetupError",
    "Snooze",
    "TaskCancelled",
    "TaskFailed",
    "TaskmillError",
    "UnavailableError",
    "UnfitError",
]


@contextmanager
def placed(before: int) -> Iterator[None]:
    """Let an error say which of many it is about: its `index`, 0 if it has none, counts after `before` others."""
    try:
        yield
    except TaskmillError as error:
        error.details["index"] = before + int(error.details.get("index", 0))
        raise


class TaskmillError(Exception):
    """Base of all errors with a code. `details` fill the words of the table; `facts()` is what a client gets of them."""

    def __init__(self, code: Code, **details: Any) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details

    @property
    def spec(self) -> ErrorSpec:
        """Return the row of the table."""
        return ERRORS[self.code]

    def message(self) -> dict[str, str]:
        """Return `{"zh": …, "en": …}`."""
        return self._say(self.spec.zh, self.spec.en)

    def hint(self) -> dict[str, str] | None:
        """Return what to do next in both languages, if the table says so."""
        if not self.spec.hint_en:
            return None
        return self._say(self.spec.hint_zh, self.spec.hint_en)

    def facts(self) -> dict[str, Any]:
        """Return the details as clients get them: of a text in both languages `name` is the English and `name_zh` the Chinese."""
        told: dict[str, Any] = {}
        for name, value in self.details.items():
            if isinstance(value, Words):
                told |= {name: value.en, f"{name}_zh": value.zh}
            else:
                told[name] = value
        return told

    def _say(self, zh: str, en: str) -> dict[str, str]:
        return {"zh": zh.format_map(Facts(self.details, "zh")), "en": en.format_map(Facts(self.details, "en"))}

    @property
    def words(self) -> Words:
        """Return the code and the message in both languages."""
        told = self.message()
        return Words(zh=f"{self.code} {told['zh']}", en=f"{self.code} {told['en']}")

    def __str__(self) -> str:
        return said(self.words)


class InputError(TaskmillError):
    """The request is wrong; repeat it corrected."""


class NotFoundError(TaskmillError):
    """The named thing does not exist."""


class ConflictError(TaskmillError):
    """The state of the thing forbids the action."""


class AccessError(TaskmillError):
    """No, wrong or insufficient credentials."""


class LimitError(TaskmillError):
    """Too much of something; wait or split."""


class UnavailableError(TaskmillError):
    """A dependency is away; repeat later."""


class SetupError(TaskmillError):
    """The installation needs a hand."""


class PluginError(TaskmillError):
    """A plugin broke its contract."""


class UnfitError(TypeError, ValueError):
    """Something that a plugin's author wrote cannot work; `words` says why in both languages."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.en)
        self.words = words


class KindError(UnfitError):
    """A kind of task cannot work as it is written; raised where it is made, and the reason why its plugin is `failed`."""

    def __init__(self, kind: str, words: Words) -> None:
        super().__init__(Words(zh=f"{kind}：{words.zh}", en=f"{kind}: {words.en}"))
        self.kind = kind


class Retry(Exception):  # noqa: N818 - 控制流，不是故障
    """Raised by a handler: this attempt failed, try again `after` (seconds or timedelta; default: the backoff).

    `reason` may be `Words`: the attempt then says why in both languages.
    """

    def __init__(self, reason: str | Words = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after.total_seconds() if isinstance(after, timedelta) else after


class Snooze(Exception):  # noqa: N818
    """Raised by a handler: come back later, without using up an attempt."""

    def __init__(self, *, after: float | timedelta | None = None, until: datetime | None = None) -> None:
        super().__init__(after, until)
        if (after is None) == (until is None):
            message = "give exactly one of after and until"
            raise ValueError(message)
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        self.until = until


class Discard(Exception):  # noqa: N818
    """Raised by a handler: no further attempt makes sense. `reason` may be `Words`, as for `Retry`."""

    def __init__(self, reason: str | Words = "") -> None:
        super().__init__(reason)
        self.reason = reason


class NotCompletedError(Exception):
    """A task that somebody waited for did not complete. `error` is its last one, `{"type", "message"}`, None if it has none."""

    def __init__(self, task_id: UUID, kind: str, error: Mapping[str, Any] | None = None) -> None:
        super().__init__(task_id, kind, error)
        self.id, self.kind, self.error = task_id, kind, error

    @property
    def words(self) -> Words:
        """Return what became of it in both languages."""
        reason = f"{self.error.get('type')}: {self.error.get('message')}" if self.error else ""
        return self._said(name=f"{self.kind} {self.id}".strip(), reason=f": {reason}" if reason else "")

    _said = Words(zh="任务 {name} 没有完成{reason}", en="the task {name} did not complete{reason}")

    def __str__(self) -> str:
        return said(self.words)


class TaskFailed(NotCompletedError):  # noqa: N818 - 接口文档里的名字
    """It was discarded: no attempt is left, its time is over, or its handler said so."""

    _said = Words(zh="任务 {name} 失败{reason}", en="the task {name} failed{reason}")


class TaskCancelled(NotCompletedError):  # noqa: N818 - 同上
    """Somebody cancelled it."""

    _said = Words(zh="任务 {name} 被取消{reason}", en="the task {name} was cancelled{reason}")
