"""What the loaded plugins brought: kinds, executors, schedules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, KindError, PluginError, UnfitError
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition, seconds, task
from taskmill.secret import Secret
from taskmill.words import Words

if TYPE_CHECKING:
    from taskiq import AsyncTaskiqDecoratedTask


class Executor(Protocol):
    """A way to run a handler. One instance per worker process."""

    async def run(self, definition: TaskDefinition[..., Any], parameters: dict[str, Any], context: TaskContext) -> Any:
        """Run the handler and return its result; asyncio.CancelledError ends it."""
        ...

    @property
    def exhausted(self) -> bool:
        """Say whether handlers that hang hold so much that the process should be replaced; without it: never."""
        return False

    async def close(self) -> None:
        """Release what the executor holds."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduleDefinition:
    """A schedule that a plugin brings; the row in PostgreSQL keeps its pause and its fires."""

    name: str
    kind: str
    args: Any
    cron: str | None
    interval_s: float | None
    timezone: str
    catch_up_s: float
    plugin: str


class Registry:
    """Kinds by (kind, version), executors by name, schedules by name; a second owner is refused.

    `database_url` is Taskmill's database as `postgresql://…` for connections of the plugin's own, None if it is not set.
    """

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, int], TaskDefinition[..., Any]] = {}
        self.owners: dict[str, str] = {}  # kind → 插件名
        self.versions: dict[str, str] = {}  # 插件名 → 版本
        self.executors: dict[str, Callable[[], Executor]] = {}
        self.schedules: dict[str, ScheduleDefinition] = {}
        self.database_url: Secret | None = None  # postgresql://…：插件自己的连接用它；没有设就是 None
        self._plugin = "taskmill"
        self._inherited: Registry | None = None

    def bound(self, plugin: str, version: str) -> None:
        """Attribute what is registered from now on to `plugin`."""
        self._plugin = plugin
        self.versions[plugin] = version

    def add(self, *definitions: TaskDefinition[..., Any] | AsyncTaskiqDecoratedTask[..., Any]) -> None:
        """Register kinds: `@task` definitions, or ordinary taskiq tasks. PluginError KIND_TAKEN names both owners."""
        for item in definitions:
            if not isinstance(item, TaskDefinition) and not _is_taskiq(item):
                reason = reasons.NOT_A_TASK(value=_named(item))
                raise PluginError(Code.PLUGIN_FAILED, plugin=self._plugin, reason=reason)
            definition = item if isinstance(item, TaskDefinition) else from_taskiq(item)
            owner = self.owners.get(definition.kind, self._plugin)
            if owner != self._plugin or (definition.kind, definition.version) in self.tasks:
                raise PluginError(Code.KIND_TAKEN, kind=definition.kind, owner=owner, plugin=self._plugin)
            self.owners[definition.kind] = self._plugin
            self.tasks[definition.kind, definition.version] = definition

    def executor(self, name: str, factory: Callable[[], Executor]) -> None:
        """Register a way to run handlers under `name`."""
        if name in self.executors:
            raise PluginError(Code.PLUGIN_FAILED, plugin=self._plugin, reason=reasons.EXECUTOR_TAKEN(name=name))
        self.executors[name] = factory

    def schedule(
        self,
        name: str,
        kind: str,
        args: Any = None,
        *,
        cron: str | None = None,
        every: float | str | None = None,
        timezone: str = "UTC",
        catch_up: float | str = c.CATCH_UP_DEFAULT_S,
    ) -> None:
        """Register a schedule: a `cron` expression or an interval `every` (seconds or text such as `5m`)."""
        if (cron is None) == (every is None) or name in self.schedules:
            reason = reasons.SCHEDULE_OF(name=name, reason=reasons.SCHEDULE_TWICE)
            raise PluginError(Code.PLUGIN_FAILED, plugin=self._plugin, reason=reason)
        try:
            interval, window = None if every is None else seconds(every), seconds(catch_up)
        except UnfitError as error:
            reason = reasons.SCHEDULE_OF(name=name, reason=error.words)
            raise PluginError(Code.PLUGIN_FAILED, plugin=self._plugin, reason=reason) from error
        self.schedules[name] = ScheduleDefinition(
            name, kind, {} if args is None else args, cron, interval, timezone, window, self._plugin
        )

    def fork(self, plugin: str, version: str) -> Registry:
        """Return a copy that attributes what is registered to `plugin`; drop it if the plugin fails half-way."""
        copy = Registry()
        copy.adopt(self)
        copy.bound(plugin, version)
        copy._inherited = Registry()
        copy._inherited.adopt(self)
        return copy

    def brought(self) -> Registry:
        """Return what was registered since the fork, alone."""
        base, made = self._inherited or Registry(), Registry()
        made.bound(self._plugin, self.versions[self._plugin])
        made.tasks = {key: item for key, item in self.tasks.items() if key not in base.tasks}
        made.owners = {key: item for key, item in self.owners.items() if key not in base.owners}
        made.executors = {key: item for key, item in self.executors.items() if key not in base.executors}
        made.schedules = {key: item for key, item in self.schedules.items() if key not in base.schedules}
        return made

    def join(self, brought: Registry) -> None:
        """Take over what a plugin `brought`; PluginError, and nothing is taken, if another has one of the names meanwhile."""
        copy = self.fork(brought._plugin, brought.versions[brought._plugin])
        copy.add(*brought.tasks.values())
        for name, factory in brought.executors.items():
            copy.executor(name, factory)
        for name, item in brought.schedules.items():
            if copy.schedules.setdefault(name, item) is not item:
                reason = reasons.SCHEDULE_OF(name=name, reason=reasons.SCHEDULE_TWICE)
                raise PluginError(Code.PLUGIN_FAILED, plugin=brought._plugin, reason=reason)
        self.adopt(copy)

    def drop(self, brought: Registry) -> None:
        """Forget what a plugin `brought`; `join` takes it back."""
        self.tasks = {key: item for key, item in self.tasks.items() if key not in brought.tasks}
        self.owners = {key: item for key, item in self.owners.items() if key not in brought.owners}
        self.versions = {key: item for key, item in self.versions.items() if key not in brought.versions}
        self.executors = {key: item for key, item in self.executors.items() if key not in brought.executors}
        self.schedules = {key: item for key, item in self.schedules.items() if key not in brought.schedules}

    def adopt(self, other: Registry) -> None:
        """Take over everything that `other`, a fork of this one, knows."""
        self.tasks, self.owners, self.versions = dict(other.tasks), dict(other.owners), dict(other.versions)
        self.executors, self.schedules = dict(other.executors), dict(other.schedules)
        self.database_url = other.database_url

    def queues(self) -> list[str]:
        """Return every queue that a registered kind names, and the default one, sorted."""
        named = {definition.queue for definition in self.tasks.values()}
        after_oom = {definition.on_oom.queue for definition in self.tasks.values() if definition.on_oom is not None}
        return sorted(named | after_oom | {c.QUEUE_DEFAULT})


def _named(item: object) -> str:
    """函数说出名字与地方；它的 repr 只有内存地址。"""
    code = getattr(item, "__code__", None)
    if code is None:
        return repr(item)[: c.NAME_MAX_CHARS]
    return f"{code.co_name} ({code.co_filename}:{code.co_firstlineno})"


def _is_taskiq(item: object) -> TypeGuard[AsyncTaskiqDecoratedTask[..., Any]]:
    """没有人导入过 taskiq，就不会有它的任务；为了问一句而导入它，每个命令都要多等半秒。"""
    taskiq = sys.modules.get("taskiq")
    return taskiq is not None and isinstance(item, taskiq.AsyncTaskiqDecoratedTask)


def from_taskiq(decorated: AsyncTaskiqDecoratedTask[..., Any]) -> TaskDefinition[..., Any]:
    """Return a definition for an ordinary taskiq task; its labels `queue`, `priority`, `timeout` are honoured.

    KindError if it cannot be a kind.
    """
    labels, kind = decorated.labels, decorated.task_name.replace(":", ".")
    try:
        options: dict[str, Any] = {
            "queue": str(labels.get("queue", c.QUEUE_DEFAULT)),
            "priority": int(labels.get("priority", c.PRIORITY_DEFAULT)),
            "timeout": float(labels.get("timeout", c.TIMEOUT_DEFAULT_S)),
        }
    except (TypeError, ValueError) as error:
        raise KindError(kind, Words(zh=str(error), en=str(error))) from error
    return replace(task(kind, **options)(decorated.original_func), taskiq=decorated)
