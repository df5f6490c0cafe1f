"""What a test says of the tasks that were submitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from taskmill.plugin.definition import TaskDefinition
from taskmill.services.tasks.view import TaskDetail
from taskmill.testing import constants as c

_ABSENT = object()


class Asserting(ABC):
    """Assertions over `submitted`."""

    @property
    @abstractmethod
    def submitted(self) -> list[TaskDetail]:
        """Return all tasks that were stored, in the order of their submits."""

    def assert_submitted(
        self, kind: str | TaskDefinition[..., Any], args: Any = None, *, times: int | None = None, **facts: Any
    ) -> TaskDetail:
        """Return the first task of this kind whose args contain `args` and whose other fields are `facts`.

        `args` is a part of the object: of nested objects a part suffices too, lists are compared as a whole. `facts` are
        fields of a task, such as `queue="mail"`, `tags=["a"]`, `unique_key="k"`. `times`: exactly so many. AssertionError
        lists what there is instead.
        """
        __tracebackhide__ = True
        found = self._matching(kind, args, facts)
        if not found or (times is not None and len(found) != times):
            wanted = "at least one" if times is None else f"exactly {times}"
            message = f"{len(found)} of {wanted} submitted: {_asked(kind, args, facts)}\n{self._all()}"
            raise AssertionError(message)
        return found[0]

    def assert_not_submitted(self, kind: str | TaskDefinition[..., Any], args: Any = None, **facts: Any) -> None:
        """Raise AssertionError if there is a task of this kind whose args contain `args` and whose fields are `facts`."""
        __tracebackhide__ = True
        if found := self._matching(kind, args, facts):
            message = f"{len(found)} submitted: {_asked(kind, args, facts)}\n{self._all()}"
            raise AssertionError(message)

    def _matching(self, kind: str | TaskDefinition[..., Any], args: Any, facts: Mapping[str, Any]) -> list[TaskDetail]:
        if unknown := facts.keys() - set(TaskDetail.__struct_fields__):
            message = f"a task has no field {', '.join(sorted(unknown))}; it has {', '.join(TaskDetail.__struct_fields__)}"
            raise TypeError(message)
        part, wanted = _plain({} if args is None else args), {name: _plain(value) for name, value in facts.items()}
        return [
            task
            for task in self.submitted
            if task.kind == _name(kind)
            and _within(part, task.args)
            and all(_plain(getattr(task, name)) == value for name, value in wanted.items())
        ]

    def _all(self) -> str:
        tasks = self.submitted
        lines = [f"  {task.kind} {msgspec.json.encode(task.args).decode()} {task.state}" for task in tasks[: c.LISTED_MAX]]
        rest = [f"  … {len(tasks) - len(lines)} more"] if len(tasks) > len(lines) else []
        return "\n".join([f"submitted, {len(tasks)} in all:", *lines, *rest])


def _name(kind: str | TaskDefinition[..., Any]) -> str:
    return kind.kind if isinstance(kind, TaskDefinition) else kind


def _plain(value: Any) -> Any:
    """和参数一样变成 JSON 的值：时间、UUID、Struct 因此可以直接拿来比。"""
    return msgspec.json.decode(msgspec.json.encode(value))


def _within(part: Any, whole: Any) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(_within(value, whole.get(name, _ABSENT)) for name, value in part.items())
    return part == whole


def _asked(kind: str | TaskDefinition[..., Any], args: Any, facts: Mapping[str, Any]) -> str:
    told = "" if args is None else f" {msgspec.json.encode(args).decode()}"
    return f"{_name(kind)}{told}{''.join(f' {name}={value!r}' for name, value in facts.items())}"
