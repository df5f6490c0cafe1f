"""All plugins of one process. Built once at start by `PluginHost.load`; its registry is read-only afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import Code, PluginError, TaskmillError
from taskmill.log import get_logger
from taskmill.plugin import constants as c
from taskmill.plugin import origin
from taskmill.plugin.breaker import Breaker
from taskmill.plugin.checks import unknown_kinds
from taskmill.plugin.config import masked
from taskmill.plugin.dashboard.parts import Dashboard
from taskmill.plugin.executors import register_builtin
from taskmill.plugin.info import PluginInfo, PluginProblem, PluginState
from taskmill.plugin.loader import Coming, Loaded, Loader, environment
from taskmill.plugin.manifest import Health, Manifest
from taskmill.plugin.registry import Registry
from taskmill.plugin.source import Candidate, candidates
from taskmill.secret import Secret
from taskmill.settings import Settings
from taskmill.stores.urls import asyncpg_url

log = get_logger("taskmill.plugin")


@dataclass(slots=True)
class _Entry:
    """一个候选插件的结局。"""

    candidate: Candidate
    breaker: Breaker
    state: PluginState = PluginState.LOADED
    problem: PluginProblem | None = None
    loaded: Loaded | None = None
    manifest: Manifest | None = None
    coming: Coming | None = None  # 时限之后还在起
    held: bool = False  # 起来了，但现在不用它

    @property
    def name(self) -> str:
        return self.candidate.name if self.manifest is None else self.manifest.name


@dataclass(slots=True)
class PluginHost:
    """The plugins of this process and what they brought."""

    registry: Registry = field(default_factory=Registry)
    clock: Clock = SYSTEM_CLOCK
    health_timeout_s: float = c.PLUGIN_HEALTH_TIMEOUT_S
    missing: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()  # 设置里点了名的
    _entries: list[_Entry] = field(default_factory=list[_Entry])

    @classmethod
    def load(
        cls,
        settings: Settings,
        extra: Mapping[str, object] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        budget_s: float | None = None,
        health_timeout_s: float = c.PLUGIN_HEALTH_TIMEOUT_S,
    ) -> PluginHost:
        """Load what is installed, `settings.plugin_modules`, and `extra` (name → module or object).

        A plugin that fails is listed with its error and stops nobody. Blocks up to `budget_s` seconds per plugin, by
        default those of the settings; `env` replaces the variables of the process. Not to be called while a module is being imported.
        """
        host = cls(clock=clock, health_timeout_s=health_timeout_s)
        if settings.database_url is not None:
            host.registry.database_url = Secret(asyncpg_url(settings.database_url.get_secret_value()))
        register_builtin(host.registry, settings.threads_abandoned_max)
        found = list(candidates(settings.plugin_modules, extra or {}))
        names = {candidate.name for candidate in found}
        loader = Loader(environment() if env is None else env, names, budget_s or settings.plugin_start_budget_s)
        for candidate in found:
            host._load_one(candidate, loader, settings)
        host._look_at_schedules()
        known = names | {entry.name for entry in host._entries}
        host.asked = frozenset(settings.plugins_allow) | {each.name for each in host._entries if each.candidate.guessed}
        host.missing = tuple(name for name in settings.plugins_allow if name not in known)
        return host

    def plugins(self) -> list[PluginInfo]:
        """Return every plugin that was found, loaded or not, sorted by name."""
        return sorted((self._info(entry) for entry in self._entries), key=lambda info: info.name)

    def failures(self) -> dict[str, str]:
        """Return what the plugins say that are not up, by name; one that was asked for by name and is not installed, too."""
        failed = {entry.name: entry.problem.en for entry in self._entries if entry.state in _NOT_UP and entry.problem}
        return dict.fromkeys(self.missing, reasons.NOT_INSTALLED.en) | failed

    def wanting(self) -> dict[str, str]:
        """Return those of the failures that the settings ask for by name: what they should serve waits for nothing."""
        return {name: words for name, words in self.failures().items() if name in self.asked}

    @property
    def waiting(self) -> bool:
        """Say whether a plugin may still come up: it is held back, or takes longer than its budget."""
        return any(entry.held or entry.coming is not None for entry in self._entries)

    def hold(self, name: str, error: TaskmillError) -> bool:
        """Take a plugin out of service, with all that it brought, until `release`; says whether it was in service.

        `error` is what it says meanwhile.
        """
        for entry in self._entries:
            if entry.name == name and entry.loaded is not None:
                if up := not entry.held:
                    self.registry.drop(entry.loaded.registry.brought())
                entry.held, entry.state, entry.problem = True, PluginState.FAILED, PluginProblem.of(error)
                return up
        return False

    def release(self, fit: Iterable[str]) -> list[str]:
        """Put those of the named plugins that are held back into service, and return them."""
        held = [entry for entry in self._entries if entry.held and entry.name in set(fit)]
        return [entry.name for entry in held if self._join(entry)]

    def arrive(self) -> list[str]:
        """Put plugins into service that came up after their budget, and return them; one that failed says so from now on."""
        over = [entry for entry in self._entries if entry.coming is not None and entry.coming.over]
        return [entry.name for entry in over if self._take(entry)]

    def middlewares(self) -> list[Any]:
        """Return the taskiq middlewares of all plugins, in load order."""
        return [item for _, loaded in self._up() for item in loaded.middlewares]

    def routes(self) -> dict[str, list[Any]]:
        """Return Litestar routers by plugin name; plugins without routes are left out."""
        return {name: list(loaded.routes) for name, loaded in self._up() if loaded.routes}

    def dashboards(self) -> dict[str, Dashboard]:
        """Return what plugins add to the dashboard, by name, in load order."""
        return {name: each.dashboard for name, each in self._up() if each.dashboard.pages or each.dashboard.task_panels}

    def fail(self, name: str, error: Exception) -> None:
        """Mark a plugin as failed whose routes or other parts turned out not to work; what it registered stays served."""
        for entry in self._entries:
            if entry.loaded is not None and entry.name == name:
                reason = origin.words(error)
                entry.state = PluginState.FAILED
                entry.problem = PluginProblem.of(PluginError(Code.PLUGIN_FAILED, plugin=name, reason=reason))
                log.error("插件失败", plugin=name, error=reason, trace=origin.trace(error))

    def fail_middleware(self, middleware: object, error: Exception) -> None:
        """Mark the plugin as failed whose middleware did not start or end; what it registered stays served."""
        for name, loaded in self._up():
            if any(each is middleware for each in loaded.middlewares):
                self.fail(name, error)

    def migrations(self) -> dict[str, Path]:
        """Return folders of alembic versions by plugin name."""
        loaded = [(entry.name, entry.loaded) for entry in self._entries if entry.loaded is not None]
        return {name: each.migrations for name, each in loaded if each.migrations is not None}

    def add_cli(self, group: click.Group) -> None:
        """Add one command group per plugin that has commands; a name that is taken is left to its owner."""
        for entry in self._entries:
            if entry.loaded is not None and entry.loaded.implements("taskmill_cli"):
                self._add_commands(entry, entry.loaded, group)

    async def health(self) -> dict[str, Health]:
        """Ask all plugins that have a check, at once; slow and broken ones answer `ok=False`."""
        checked = [
            (entry, loaded)
            for entry in self._entries
            if (loaded := entry.loaded) is not None and not entry.held and loaded.implements("taskmill_health")
        ]
        answers = await asyncio.gather(*(entry.breaker.check(partial(_health, loaded)) for entry, loaded in checked))
        return {entry.name: answer for (entry, _), answer in zip(checked, answers, strict=True)}

    def _up(self) -> list[tuple[str, Loaded]]:
        return [(entry.name, entry.loaded) for entry in self._entries if entry.loaded is not None and not entry.held]

    def _load_one(self, candidate: Candidate, loader: Loader, settings: Settings) -> None:
        entry = _Entry(candidate, Breaker(candidate.name, clock=self.clock, timeout_s=self.health_timeout_s))
        self._entries.append(entry)
        if not candidate.guessed and not _wanted(candidate.name, settings):
            entry.state = PluginState.DISABLED  # 连导入都不做
            return

        def admit(manifest: Manifest) -> bool:
            self._check_unique(entry, manifest.name)  # 名字归了别人，就仍用候选名，免得两个插件同名
            entry.manifest = manifest
            return _wanted(manifest.name, settings)

        entry.coming = loader.start(candidate, self.registry, admit)
        self._take(entry)

    def _take(self, entry: _Entry) -> bool:
        """等它起来，最多到时限；说它是否投入使用。时限之后才起来的，`arrive` 再来接。"""
        assert entry.coming is not None  # noqa: S101 - 两处调用都看过
        over = entry.coming.wait()
        try:
            entry.loaded = entry.coming.result()
        except TaskmillError as error:
            entry.coming = None if over else entry.coming
            incompatible = error.code is Code.PLUGIN_INCOMPATIBLE
            entry.state = PluginState.INCOMPATIBLE if incompatible else PluginState.FAILED
            entry.problem = PluginProblem.of(error)
            trace = origin.trace(error)
            log.error("插件加载失败", plugin=entry.name, state=entry.state.value, error=str(error), trace=trace)  # noqa: TRY400 - 带局部变量的调用栈会泄露机密
            return False
        entry.coming = None
        if entry.loaded is None:
            entry.state, entry.problem = PluginState.DISABLED, None
            return False
        return self._join(entry)

    def _join(self, entry: _Entry) -> bool:
        assert entry.loaded is not None  # noqa: S101 - 调用处看过
        try:
            self._check_unique(entry, entry.name)
            self.registry.join(entry.loaded.registry.brought())
        except TaskmillError as error:  # 起得晚，名字已归了别人
            entry.loaded, entry.held = None, False
            entry.state, entry.problem = PluginState.FAILED, PluginProblem.of(error)
            log.error("插件加载失败", plugin=entry.name, state=entry.state.value, error=str(error))  # noqa: TRY400 - 同上
            return False
        entry.held, entry.state, entry.problem = False, PluginState.LOADED, None
        log.info("插件已加载", plugin=entry.name, version=entry.loaded.manifest.version, kinds=self._kinds(entry))
        for doubt in entry.loaded.doubts[::-1]:
            entry.problem = PluginProblem.of(PluginError(Code.PLUGIN_INCOMPLETE, plugin=entry.name, reason=doubt))
            log.warning("插件有一部分没人用", plugin=entry.name, reason=doubt)
        return True

    def _look_at_schedules(self) -> None:
        """全部加载之后再看：计划可以用别的插件的类型；这里没有的，也许别处装着，所以只提醒。"""
        for entry in self._entries:
            words = unknown_kinds(self.registry, entry.name) if entry.loaded is not None else []
            if words:
                entry.problem = PluginProblem(code=Code.SCHEDULE_INVALID.value, en=words[0].en, zh=words[0].zh)
                log.warning("插件的计划用了这里没有的类型", plugin=entry.name, reasons=[each.en for each in words])

    def _check_unique(self, entry: _Entry, name: str) -> None:
        for other in self._entries:
            if other is not entry and other.loaded is not None and other.name == name:
                where = other.candidate.distribution or reasons.SETTINGS
                reason = reasons.NAME_TAKEN(name=name, where=where)
                raise PluginError(Code.PLUGIN_FAILED, plugin=entry.candidate.name, reason=reason)

    def _kinds(self, entry: _Entry) -> list[str]:
        if entry.loaded is None:
            return []
        return sorted(kind for kind, owner in self.registry.owners.items() if owner == entry.name)

    def _info(self, entry: _Entry) -> PluginInfo:
        manifest, candidate = entry.manifest, entry.candidate
        degraded = entry.loaded is not None and entry.breaker.open
        return PluginInfo(
            name=entry.name,
            version=candidate.version if manifest is None else manifest.version,
            distribution=candidate.distribution,
            state=PluginState.DEGRADED if degraded else entry.state,
            error=entry.problem,
            title_en="" if manifest is None else manifest.title_en,
            title_zh="" if manifest is None else manifest.title_zh,
            summary_en="" if manifest is None else manifest.summary_en,
            summary_zh="" if manifest is None else manifest.summary_zh,
            capabilities=[] if manifest is None else sorted(manifest.capabilities),
            kinds=self._kinds(entry),
            config={} if entry.loaded is None else masked(entry.loaded.config),
        )

    def _add_commands(self, entry: _Entry, loaded: Loaded, group: click.Group) -> None:
        commands = click.Group(entry.name, help=loaded.manifest.summary_en)
        try:
            loaded.manager.hook.taskmill_cli(group=commands)
        except Exception as error:  # noqa: BLE001 - 插件可能抛出任何东西；记下来，别的命令照常
            log.warning("插件的命令不可用", plugin=entry.name, error=origin.words(error))
            return
        if entry.name in group.commands:
            log.warning("命令名已被占用", plugin=entry.name)
        elif commands.commands:
            group.add_command(commands)


_NOT_UP = frozenset({PluginState.FAILED, PluginState.INCOMPATIBLE})


def _wanted(name: str, settings: Settings) -> bool:
    allowed: Collection[str] = settings.plugins_allow
    return name not in settings.plugins_deny and (not allowed or name in allowed)


def _health(loaded: Loaded) -> Any:
    return loaded.manager.hook.taskmill_health(config=loaded.config)[0]
