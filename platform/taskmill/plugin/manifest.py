"""What a plugin says of itself."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from taskmill.words import Words

Capability = Literal["network", "subprocess", "filesystem"]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of a plugin.

    `requires_api` is a PEP 440 range against `HOOKSPEC_API`; `config` is a msgspec Struct type filled from
    `TASKMILL_PLUGIN_<NAME>_<FIELD>`; `capabilities` is shown to operators; `log_events` gives the English of
    events that it logs in another language, for `TASKMILL_LOG_LANG=en`.
    """

    name: str
    version: str
    requires_api: str
    title_en: str
    title_zh: str
    summary_en: str
    summary_zh: str
    config: type[Any] | None = None
    capabilities: frozenset[Capability] = frozenset()
    log_events: dict[str, str] = {}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `taskmill_health`."""

    ok: bool
    detail: str | Words = ""
