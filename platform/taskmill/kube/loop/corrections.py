"""How often fields that somebody else keeps changing are set right: at once the first time, then ever more slowly.

Two controllers that fight over a template would else roll the workers with every blow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.state import Event, Options

DRIFT_CORRECTED = "DriftCorrected"


@dataclass(slots=True)
class _War:
    blows: int
    last: float


class Corrections:
    """Remembers per object of ours; forgotten after a while of peace."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._wars: dict[Key, _War] = {}

    def options(self, key: Key, options: Options) -> Options:
        """Return the options with how long to wait before anything is set right again."""
        war = self._wars.get(key)
        if war is None:
            return options
        passed = self._clock.monotonic() - war.last
        if passed >= c.DRIFT_PEACE_S:
            del self._wars[key]
            return options
        pause = min(c.DRIFT_PAUSE_MAX_S, c.DRIFT_PAUSE_MIN_S * 2 ** (war.blows - 1))
        return replace(options, correct_in_s=max(0.0, pause - passed))

    def note(self, key: Key, events: Iterable[Event]) -> None:
        """Note what was set right in a round."""
        if any(event.reason == DRIFT_CORRECTED for event in events):
            war = self._wars.get(key)
            self._wars[key] = _War(min(war.blows + 1, 10) if war is not None else 1, self._clock.monotonic())

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._wars.pop(key, None)
