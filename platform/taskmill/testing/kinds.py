"""The kinds that a test works with: given one by one, or brought by plugins that are loaded as a worker loads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskmill.errors import UnfitError
from taskmill.plugin.definition import TaskDefinition
from taskmill.plugin.host import PluginHost
from taskmill.plugin.registry import Registry
from taskmill.settings import Settings, load_settings
from taskmill.testing import logs, reasons

PLUGIN = "tests"  # 谁的名下登记测试自己给的类型
NOBODY = "-"  # 不是任何插件的名字：空的名单会放进所有装着的


def host_of(
    tasks: Sequence[TaskDefinition[..., Any]], plugins: Sequence[object], env: Mapping[str, str], settings: Settings
) -> PluginHost:
    """Return a host with these kinds and exactly these plugins: names of installed ones, or modules.

    UnfitError says why a plugin is not up.
    """
    logs.tell(settings.log_lang)
    given = {_name(plugin): plugin for plugin in plugins if not isinstance(plugin, str)}
    wanted = [*given, *(plugin for plugin in plugins if isinstance(plugin, str))]
    only = {"plugins_allow": wanted or [NOBODY], "plugins_deny": [], "plugin_modules": []}
    host = PluginHost.load(settings.model_copy(update=only), given, env=env)
    if failed := {name: words for name, words in host.failures().items() if name in wanted}:
        told = "; ".join(f"{name}: {words}" for name, words in sorted(failed.items()))
        raise UnfitError(reasons.NOT_LOADED(reasons=told))
    brought = host.registry.fork(PLUGIN, "0")
    brought.add(*tasks)
    host.registry.adopt(brought)
    return host


def registry_of(tasks: Sequence[TaskDefinition[..., Any]], plugins: Sequence[object], env: Mapping[str, str]) -> Registry:
    """Return their registry for a harness; UnfitError names what only a worker can run."""
    host = host_of(tasks, plugins, env, load_settings(database_url=None, broker_url=None))
    if middlewares := host.middlewares():
        raise UnfitError(reasons.HAS_MIDDLEWARES(names=", ".join(type(each).__name__ for each in middlewares)))
    for definition in host.registry.tasks.values():
        if definition.taskiq is not None or definition.call.dependencies:
            raise UnfitError(reasons.NEEDS_TASKIQ(kind=definition.kind))
    return host.registry


def _name(plugin: object) -> str:
    try:
        return plugin.taskmill_manifest().name  # pyright: ignore[reportAttributeAccessIssue]
    except Exception:  # noqa: BLE001 - 插件的代码；哪里不对，由加载它的来说
        return getattr(plugin, "__name__", type(plugin).__name__).rpartition(".")[2]
