"""The hooks of one plugin: their registration, and those that nobody will ever call."""

from __future__ import annotations

import difflib
import inspect

import pluggy

from taskmill import reasons
from taskmill.errors import UnfitError
from taskmill.plugin import hookspecs
from taskmill.words import Words

MANIFEST = "taskmill_manifest"  # 直接读，不经 pluggy；没有 @hookimpl 也行
KNOWN = tuple(name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_"))


def register(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Register the plugin; UnfitError says which hook has an argument that there is not."""
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        said = " ".join(str(error).split())
        raise UnfitError(_misfit(plugin) or Words(zh=said, en=said)) from error


def misspelt(manager: pluggy.PluginManager) -> list[Words]:
    """Return what to say of marked functions whose name is no hook."""
    found: list[Words] = []
    for name in vars(manager.hook):
        if name.startswith(hookspecs.PROJECT) and name not in KNOWN and not _optional(manager, name):
            close = difflib.get_close_matches(name, KNOWN, n=1)
            found.append(reasons.UNKNOWN_HOOK(name=name, hint=close[0] if close else ", ".join(KNOWN)))
    return found


def unmarked(plugin: object) -> list[Words]:
    """Return what to say of functions that are called like a hook and not marked as one."""
    mark = f"{hookspecs.PROJECT}_impl"
    given = [(hook, getattr(plugin, hook, None)) for hook in KNOWN if hook != MANIFEST]
    return [reasons.NOT_MARKED(hook=hook) for hook, each in given if callable(each) and not hasattr(each, mark)]


def _misfit(plugin: object) -> Words | None:
    for hook in KNOWN:
        each = getattr(plugin, hook, None)
        if not callable(each):
            continue
        known = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        unknown = [name for name in inspect.signature(each).parameters if name not in known]
        if unknown:
            return reasons.HOOK_ARGUMENTS(hook=hook, names=", ".join(unknown), known=", ".join(known) or "-")
    return None


def _optional(manager: pluggy.PluginManager, name: str) -> bool:
    return all(implementation.optionalhook for implementation in getattr(manager.hook, name).get_hookimpls())
