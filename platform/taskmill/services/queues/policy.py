"""What holds for a queue, as it is shown and as the operator sees it; its settings are declared in `controls/queue_settings.py`."""

from __future__ import annotations

from typing import Any

import msgspec

from taskmill.clock import Timestamp
from taskmill.controls.queue_settings import QueueSettings
from taskmill.services.queues.preview import QueuePreview


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a queue: its pause, and its settings by name, those that the database has a column for."""

    paused: bool = False
    paused_by: str | None = None
    settings: dict[str, Any] = {}

    def lacks(self, name: str) -> bool:
        """Say whether the database has this queue, but no column for this setting yet."""
        return bool(self.settings) and name not in self.settings


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Live tasks by state; `blocked` ones wait for other tasks; `held`: of the available ones those that limits hold."""

    scheduled: int
    available: int
    running: int
    retryable: int
    blocked: int = 0
    held: int = 0


class QueueView(QueueSettings, frozen=True, kw_only=True):
    """One queue; `oldest_wait_s` is how long its oldest available task has been ready. `preview`: only of a dry run."""

    live: LiveCounts
    oldest_wait_s: float
    created_at: Timestamp
    updated_at: Timestamp
    preview: QueuePreview | msgspec.UnsetType = msgspec.UNSET
