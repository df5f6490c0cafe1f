"""How often fields that somebody else keeps changing are set right: at once the first time, then ever more slowly.

Two controllers that both want a template would else roll the workers with every correction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.state import Event, Options

DRIFT_CORRECTED = "DriftCorrected"


@dataclass(slots=True)
class _Dispute:
    corrections: int
    last: float


class Corrections:
    """Remembers per object of ours; forgotten after a while without any."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._disputes: dict[Key, _Dispute] = {}

    def options(self, key: Key, options: Options) -> Options:
        """Return the options with how long to wait before anything is set right again."""
        dispute = self._disputes.get(key)
        if dispute is None:
            return options
        passed = self._clock.monotonic() - dispute.last
        if passed >= c.DRIFT_PEACE_S:
            del self._disputes[key]
            return options
        pause = min(c.DRIFT_PAUSE_MAX_S, c.DRIFT_PAUSE_MIN_S * 2 ** (dispute.corrections - 1))
        return replace(options, correct_in_s=max(0.0, pause - passed))

    def note(self, key: Key, events: Iterable[Event]) -> None:
        """Note what was set right in a round."""
        if any(event.reason == DRIFT_CORRECTED for event in events):
            dispute = self._disputes.get(key)
            self._disputes[key] = _Dispute(
                min(dispute.corrections + 1, 10) if dispute is not None else 1, self._clock.monotonic()
            )

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._disputes.pop(key, None)
