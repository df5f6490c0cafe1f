"""What a worker says of its troubles: since when, how much of it, and no longer than they last."""

from __future__ import annotations

from taskmill.engine import constants as c
from taskmill.engine.troubles import Watchful
from taskmill.stores.workers.troubles import NONE, Troubles, decode, encode


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_broker_is_away_since_the_first_failure_until_it_answers() -> None:
    clock = Clock()
    watchful = Watchful(now=clock)
    assert watchful.told() == NONE
    watchful.broker("DENIED")
    clock.now += 20
    watchful.broker("NOAUTH")
    assert (watchful.told().broker, watchful.told().broker_s) == ("NOAUTH", 20)
    watchful.broker(None)
    assert watchful.told() == NONE


def test_a_failure_is_not_told_for_ever_by_a_worker_that_reads_no_more() -> None:
    clock = Clock()
    watchful = Watchful(now=clock)
    watchful.broker("DENIED")
    clock.now += c.BROKER_TOLD_S - 1
    assert watchful.told().broker == "DENIED"
    clock.now += 1
    assert watchful.told() == NONE
    watchful.broker("NOAUTH")
    assert watchful.told().broker_s == 0  # 中间怎样不知道：从头数起


def test_kinds_are_told_for_a_minute_after_the_last_was_put_back() -> None:
    clock = Clock()
    watchful = Watchful(now=clock)
    watchful.declined(["b:1"])
    clock.now += c.DECLINED_S - 1
    watchful.declined(["a:1"])
    watchful.declined([])
    assert watchful.told().declined == ["a:1", "b:1"]
    clock.now += 1
    assert watchful.told().declined == ["a:1"]
    clock.now += c.DECLINED_S
    assert watchful.told() == NONE


def test_what_a_row_holds_is_bounded() -> None:
    many = {f"p{number:02}": "x" * 1_000 for number in range(100)}
    watchful = Watchful(lambda: many)
    watchful.broker("y" * 1_000)
    watchful.declined(f"k{number:02}:1" for number in range(100))
    told = watchful.told()
    assert len(told.broker) == c.TROUBLE_CHARS
    assert (len(told.plugins), len(told.declined)) == (c.TROUBLES_MAX, c.TROUBLES_MAX)
    assert {len(words) for words in told.plugins.values()} == {c.TROUBLE_CHARS}


def test_the_column_comes_back_and_may_be_missing() -> None:
    said = Troubles(broker="DENIED", broker_s=3, plugins={"pay": "no"}, declined=["a:1"])
    assert decode(encode(said)) == said
    assert encode(NONE) == "{}"
    assert decode(None) == decode("{}") == NONE
