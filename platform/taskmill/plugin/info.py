"""What `plugin list`, the API and the dashboard show of a plugin."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from taskmill.errors import TaskmillError


class PluginState(StrEnum):
    """loaded → degraded and back by the breaker; disabled, incompatible and failed last until the next start."""

    LOADED = "loaded"
    DISABLED = "disabled"  # 允许/禁止名单
    INCOMPATIBLE = "incompatible"  # requires_api 不含本接口版本
    FAILED = "failed"
    DEGRADED = "degraded"  # 健康检查熔断中


class PluginProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a plugin is not loaded, or what of a loaded one cannot work here: the code and the words in both languages."""

    code: str
    en: str
    zh: str

    @classmethod
    def of(cls, error: TaskmillError) -> PluginProblem:
        """Return the problem that `error` tells."""
        words = error.message()
        return cls(code=error.code.value, en=words["en"], zh=words["zh"])


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin. Titles are empty if it could not be imported; `config` is masked; `kinds` are sorted."""

    name: str
    version: str
    distribution: str
    state: PluginState
    error: PluginProblem | None = None
    title_en: str = ""
    title_zh: str = ""
    summary_en: str = ""
    summary_zh: str = ""
    capabilities: list[str] = []
    kinds: list[str] = []
    config: dict[str, Any] = {}
