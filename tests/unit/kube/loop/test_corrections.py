"""Edit wars: the first blow is answered at once, the others ever more slowly, and peace is forgiven."""

from __future__ import annotations

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.corrections import DRIFT_CORRECTED, Corrections
from taskmill.kube.state import Event
from tests.unit.kube.objects import OPTIONS

KEY = Key.queue("ns", "emails")
CORRECTED = [Event("Normal", DRIFT_CORRECTED, "replicas")]


def test_pauses_double_up_to_a_limit_and_are_forgotten() -> None:
    clock = FakeClock()
    corrections = Corrections(clock)
    waits: list[float] = []
    for _ in range(6):
        assert corrections.options(KEY, OPTIONS).correct_in_s == 0
        corrections.note(KEY, CORRECTED)
        waits.append(corrections.options(KEY, OPTIONS).correct_in_s)
        clock.advance(waits[-1])
    assert waits == [5, 10, 20, 30, 30, 30]
    clock.advance(c.DRIFT_PEACE_S)
    assert corrections.options(KEY, OPTIONS) == OPTIONS
    corrections.note(KEY, CORRECTED)
    assert corrections.options(KEY, OPTIONS).correct_in_s == c.DRIFT_PAUSE_MIN_S


def test_other_events_and_other_objects_do_not_count() -> None:
    corrections = Corrections(FakeClock())
    corrections.note(KEY, [Event("Normal", "ScaledUp", "")])
    assert corrections.options(KEY, OPTIONS) == OPTIONS
    corrections.note(KEY, CORRECTED)
    assert corrections.options(Key.queue("ns", "other"), OPTIONS) == OPTIONS
    corrections.forget(KEY)
    assert corrections.options(KEY, OPTIONS) == OPTIONS
