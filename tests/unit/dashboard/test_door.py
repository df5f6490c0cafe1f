"""Links that log in once, and the limit on guesses: by a clock that the test moves."""

from __future__ import annotations

import pytest

from taskmill.clock import FakeClock
from taskmill.errors import Code
from taskmill.services.dashboard import constants as c
from taskmill.services.dashboard.login import Links, Throttle


def test_a_link_is_good_once_and_not_for_long() -> None:
    clock = FakeClock()
    links = Links(clock)
    first, second, third = links.make(), links.make(), links.make()
    assert links.take(first)
    assert not links.take(first)
    clock.advance(c.LINK_LIVES_S - 0.1)
    assert links.take(second)
    clock.advance(0.2)
    assert not links.take(third)
    assert not links.take("")


def test_guesses_are_forgotten_one_by_one() -> None:
    clock = FakeClock()
    throttle = Throttle(clock)
    for _ in range(c.FAILURES_MAX):
        assert throttle.failed("a") is None
        clock.advance(1)
    refused = throttle.failed("a")
    assert refused is not None
    assert refused.code is Code.TOO_MANY_LOGINS
    assert refused.details["seconds"] == round(c.FAILURES_WINDOW_S) - c.FAILURES_MAX
    assert throttle.failed("b") is None
    clock.advance(c.FAILURES_WINDOW_S - c.FAILURES_MAX)
    assert throttle.failed("a") is None


def test_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "ADDRESSES_MAX", 3)
    throttle = Throttle(FakeClock())
    for n in range(10):
        throttle.failed(str(n))
    assert len(throttle._failures) == 3
