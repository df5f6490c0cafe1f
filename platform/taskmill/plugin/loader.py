"""Brings one plugin up: import, manifest, API version, hooks, configuration, registration; all or nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from taskmill import reasons
from taskmill.errors import Code, PluginError, TaskmillError, UnfitError
from taskmill.plugin import hook_checks, hookspecs, origin
from taskmill.plugin.checks import check_manifest, check_middlewares, check_migrations, check_registered, check_schedules
from taskmill.plugin.config import load_config
from taskmill.plugin.dashboard.checks import check_dashboard
from taskmill.plugin.dashboard.parts import Dashboard
from taskmill.plugin.manifest import Manifest
from taskmill.plugin.registry import Registry
from taskmill.plugin.source import Candidate
from taskmill.text.log_events import add_events
from taskmill.words import Words


@dataclass(slots=True)
class Loaded:
    """A plugin that is up: its own hook caller, its configuration and what its setup hooks gave."""

    manifest: Manifest
    manager: pluggy.PluginManager
    registry: Registry
    config: Any = None
    middlewares: list[Any] = field(default_factory=list[Any])
    routes: list[Any] = field(default_factory=list[Any])
    dashboard: Dashboard = field(default_factory=Dashboard)
    migrations: Path | None = None
    doubts: list[Words] = field(default_factory=list[Words])  # 起来了，却有一部分没人用

    def implements(self, hook: str) -> bool:
        """Say whether the plugin has the named hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())


class Coming:
    """A plugin on its way up, on a daemon thread: one that hangs stays there, and writes only to its own copy."""

    def __init__(self, name: str, bring_up: Callable[[], Loaded | None], budget_s: float) -> None:
        self._name, self._bring_up, self._budget_s = name, bring_up, budget_s
        self._outcome: list[Loaded | BaseException | None] = []
        self._thread = threading.Thread(target=self._run, name=f"plugin-{name}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Say whether it is up or has failed."""
        return bool(self._outcome)

    def wait(self) -> bool:
        """Wait up to the budget; says whether it is over."""
        self._thread.join(self._budget_s)
        return self.over

    def result(self) -> Loaded | None:
        """Return the plugin, None if its manifest was not admitted; TaskmillError tells why it failed, or that it is not over."""
        if not self._outcome:
            raise PluginError(Code.PLUGIN_FAILED, plugin=self._name, reason=reasons.NOT_UP(seconds=f"{self._budget_s:g}"))
        result = self._outcome[0]
        if isinstance(result, BaseException):
            error = _as_error(self._name, result)
            raise error from (None if error is result else result)
        if result is not None:
            check_schedules(result.registry, result.manifest.name)
        return result

    def _run(self) -> None:
        try:
            self._outcome.append(self._bring_up())
        except BaseException as error:  # noqa: BLE001 - 插件可能抛出任何东西，包括 SystemExit；result 统一转换
            self._outcome.append(error)


@dataclass(slots=True)
class Loader:
    """Loads candidates one by one under a time budget, so that one broken plugin never stops the others."""

    env: Mapping[str, str]
    names: Collection[str]  # 所有候选名，用来区分前缀相近的环境变量
    budget_s: float

    def start(self, candidate: Candidate, registry: Registry, admit: Callable[[Manifest], bool]) -> Coming:
        """Begin to bring it up, with `registry` forked and extended; `admit` may refuse its manifest."""
        return Coming(candidate.name, lambda: self._bring_up(candidate, registry, admit), self.budget_s)

    def _bring_up(self, candidate: Candidate, registry: Registry, admit: Callable[[Manifest], bool]) -> Loaded | None:
        plugin = candidate.load()
        manifest = _manifest(candidate, plugin)
        if not admit(manifest):
            return None
        _check_api(manifest)
        add_events(manifest.log_events)
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        hook_checks.register(manager, plugin, manifest.name)
        misspelt = hook_checks.misspelt(manager)
        if misspelt and self.env.get("CI") == "true":
            raise PluginError(Code.PLUGIN_FAILED, plugin=manifest.name, reason=misspelt[0])
        config = load_config(manifest.name, manifest.config, self.env, self.names)
        loaded = Loaded(manifest, manager, registry.fork(manifest.name, manifest.version), config)
        _set_up(loaded)
        loaded.doubts = [*misspelt, *hook_checks.unmarked(plugin)] or _nothing(loaded)
        return loaded


def _manifest(candidate: Candidate, plugin: object) -> Manifest:
    hook = getattr(plugin, "taskmill_manifest", None)
    if not callable(hook):
        raise PluginError(Code.PLUGIN_FAILED, plugin=candidate.name, reason=reasons.NO_MANIFEST)
    try:
        manifest = hook()
    except (TypeError, ValueError) as error:  # 字段少了、多了、写错了：说出要哪些
        fields = ", ".join(each.name for each in msgspec.structs.fields(Manifest) if each.required)
        raise UnfitError(reasons.MANIFEST_RAISED(error=origin.words(error), fields=fields)) from error
    if not isinstance(manifest, Manifest):
        raise PluginError(Code.PLUGIN_FAILED, plugin=candidate.name, reason=reasons.NOT_A_MANIFEST)
    check_manifest(manifest)
    if manifest.name != candidate.name and not candidate.guessed:
        reason = reasons.OTHER_NAME(name=manifest.name)
        raise PluginError(Code.PLUGIN_FAILED, plugin=candidate.name, reason=reason)
    return manifest


def _check_api(manifest: Manifest) -> None:
    try:
        fits = SpecifierSet(manifest.requires_api).contains(hookspecs.HOOKSPEC_API)
    except InvalidSpecifier as error:
        raise PluginError(Code.PLUGIN_FAILED, plugin=manifest.name, reason=str(error)) from error
    if not fits:
        raise PluginError(
            Code.PLUGIN_INCOMPATIBLE, plugin=manifest.name, requires=manifest.requires_api, api=hookspecs.HOOKSPEC_API
        )


def _set_up(loaded: Loaded) -> None:
    """调用全部启动期钩子；任何一个失败，整个插件就算失败。"""
    hook = loaded.manager.hook
    hook.taskmill_register(registry=loaded.registry, config=loaded.config)
    check_registered(loaded.registry, loaded.manifest.name)
    loaded.middlewares = [item for items in hook.taskmill_middlewares(config=loaded.config) for item in items]
    check_middlewares(loaded.middlewares)
    loaded.routes = [item for items in hook.taskmill_routes(config=loaded.config) for item in items]
    for dashboard in hook.taskmill_dashboard(config=loaded.config):
        check_dashboard(dashboard)
        loaded.dashboard = dashboard
    for folder in hook.taskmill_migrations():
        check_migrations(loaded.manifest.name, Path(folder))
        loaded.migrations = Path(folder)


def _nothing(loaded: Loaded) -> list[Words]:
    """除了名字什么也没带来的插件：多半是钩子上面漏了 @hookimpl。"""
    made = loaded.registry.brought()
    brought = made.tasks or made.executors or made.schedules or loaded.middlewares or loaded.routes or loaded.migrations
    asked = any(loaded.implements(hook) for hook in ("taskmill_cli", "taskmill_dashboard", "taskmill_health"))
    return [] if brought or asked else [reasons.BRINGS_NOTHING]


def _as_error(name: str, error: BaseException) -> TaskmillError:
    if isinstance(error, TaskmillError):
        return error
    if isinstance(error, UnfitError):
        where, told = origin.place(error), error.words
        reason = Words(zh=f"{told.zh}（{where}）", en=f"{told.en} ({where})") if where else told
        return PluginError(Code.PLUGIN_FAILED, plugin=name, reason=reason)
    return PluginError(Code.PLUGIN_FAILED, plugin=name, reason=origin.words(error))


def environment() -> Mapping[str, str]:
    """Return the variables of this process."""
    return os.environ
