"""Plugins made for tests: each is an object with hooks, as a module would be."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from taskmill.plugin import Health, Manifest, hookimpl, task


def manifest(name: str, **changes: Any) -> Manifest:
    """Return a manifest that fits this host, except for `changes`."""
    facts: dict[str, Any] = {
        "name": name,
        "version": "1.2.3",
        "requires_api": ">=1.0,<2",
        "title_en": name,
        "title_zh": "测试",
        "summary_en": "For tests.",
        "summary_zh": "供测试用。",
    }
    return Manifest(**{**facts, **changes})


def plugin(name: str, *hooks: Callable[..., Any], **changes: Any) -> SimpleNamespace:
    """Return a plugin with a manifest and `hooks`, which are marked here."""

    @hookimpl
    def taskmill_manifest() -> Manifest:
        return manifest(name, **changes)

    return SimpleNamespace(taskmill_manifest=taskmill_manifest, **{hook.__name__: hookimpl(hook) for hook in hooks})


def serving(name: str, kind: str, **changes: Any) -> SimpleNamespace:
    """Return a plugin that registers one kind."""

    @task(kind)
    async def handler(value: int) -> int:
        return value

    def taskmill_register(registry: Any) -> None:
        registry.add(handler)

    return plugin(name, taskmill_register, **changes)


def with_health(name: str, answer: Callable[[], Any]) -> SimpleNamespace:
    """Return a plugin whose health check is `answer`, plain or async."""

    def taskmill_health() -> Any:
        return answer()

    return plugin(name, taskmill_health)


FINE = Health(ok=True, detail="fine")
