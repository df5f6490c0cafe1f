"""How the roles behaved: they answer, work again soon, end when asked, and hold on to nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.chaos.driver.expect import DEADLY
from tests.chaos.driver.facts import Breach, Event, Facts
from tests.chaos.driver.roles import Life
from tests.chaos.driver.serving import Served

SERVING_S = 20.0
STARTING_S = 10.0  # 刚启动的进程另有这么久：导入要三四秒，数据库刚回来时重试的间隔最长五秒
LEAVING_S = 40.0
ANSWER_S = 20.0
RSS_GROWTH_MB = 150.0
RSS_WARM_S = 30.0  # 进程头这么久在长身体
FLOOD = 100  # 平静之后，一条流里最多剩这么多票据
EXPECTED_REFUSALS = frozenset({200, 201, 409, 429, 503})


def check(facts: Facts) -> Iterator[Breach]:
    """Yield every breach of the bars on roles, streams and answers."""
    yield from _calm(facts)
    yield from _serving(facts)
    yield from _leaving(facts)
    yield from _endings(facts)
    yield from _answers(facts)
    yield from _slow_answers(facts)
    yield from _leftovers(facts)
    yield from _memory(facts)


def _calm(facts: Facts) -> Iterator[Breach]:
    if facts.calm_s is None:
        yield Breach("calm in the end", f"{len(facts.tasks)} tasks are not final and nothing changes any more")


def _serving(facts: Facts) -> Iterator[Breach]:
    """等处理器的时间不算；刚启动的进程另有启动的时间。"""
    for event, served in facts.served:
        waited = waited_for_cores(facts, served)
        bar = SERVING_S + waited + (STARTING_S if served.fresh else 0)
        if served.seconds is None or served.seconds > bar:
            took = "never served again" if served.seconds is None else f"served again after {served.seconds:.1f} s"
            took += f", {waited:.1f} s of them waiting for a core"
            causes = [each.name for each in facts.events if event is not None and each.round == event.round]
            words = f"{served.what} {took}, {bar:.0f} s are allowed, after: {' and '.join(causes) or 'the start'}"
            yield Breach("every role serves ≤ 20 s after", words, at=served.base)


def waited_for_cores(facts: Facts, served: Served) -> float:
    """Return how much of the time it took to serve again went by without a core: of the roles concerned and the driver, for the worst off."""
    return 0.0 if served.seconds is None else _waited(facts, served.roles, served.base, served.base + served.seconds)


def _waited(facts: Facts, roles: Collection[str], begin: float, end: float) -> float:
    lives = [life for life in facts.lives if life.role in roles and life.started < end]
    return max(each.waited(begin, end) for each in (facts.meter, *(life.meter for life in lives)))


def _leaving(facts: Facts) -> Iterator[Breach]:
    for life in facts.lives:
        if life.asked_at is None or life.ended is None:
            continue
        asleep = sum(min(end, life.ended) - max(begin, life.asked_at) for begin, end in life.stopped if end > life.asked_at)
        took = life.ended - life.asked_at - max(0.0, asleep) - life.meter.waited(life.asked_at, life.ended)
        if took > LEAVING_S:
            yield Breach(
                "SIGTERM ends a role ≤ 40 s",
                f"{life.role} (pid {life.pid}) took {took:.0f} s, log {life.log}",
                at=life.asked_at,
            )
        elif life.code != 0 and not _starting(facts, life, life.asked_at):
            words = f"{life.role} (pid {life.pid}) ended with {life.code} after SIGTERM, log {life.log}"
            yield Breach("exit code 0 after SIGTERM", words, at=life.asked_at)


def _starting(facts: Facts, life: Life, at: float) -> bool:
    """还在启动，或启动以来 PostgreSQL 一直不在：信号处理还没装上，也没有什么可收尾的。"""
    up = life.started + 1.5 * facts.start_s
    return at < up or any(event.blocks and event.begin < up and event.end > at for event in facts.events)


def _endings(facts: Facts) -> Iterator[Breach]:
    deadly = {line["pid"] for line in facts.lines if line["event"] == "start" and line["kind"] in DEADLY}
    for life in facts.lives:
        if life.ended is not None and life.ended_by is None and life.pid not in deadly:
            words = f"{life.role} (pid {life.pid}) ended by itself with {life.code}, log {life.log}"
            yield Breach("no role ends by itself", words, at=life.ended)


def _answers(facts: Facts) -> Iterator[Breach]:
    for answer in facts.answers:
        odd = answer.status is not None and (answer.status not in EXPECTED_REFUSALS or answer.note)
        if odd:
            words = f"{answer.what} at {answer.api}: {answer.status} {answer.note}"
            yield Breach("answers fit the cause", words, at=answer.end)


def _slow_answers(facts: Facts) -> Iterator[Breach]:
    """没有谁挡着，二十秒之内总该有答复。"""
    for answer in facts.answers:
        if answer.what.startswith("probe"):
            continue
        pauses = [event for event in facts.events if event.blocks and event.begin < answer.end and event.end > answer.begin]
        lost = [
            life for life in facts.lives if life.role == answer.api and life.ended and answer.begin < life.ended < answer.end
        ]
        if lost or any(event.end > answer.end for event in pauses):
            continue
        since = max([answer.begin, *(event.end for event in pauses)])
        if answer.end - since > ANSWER_S + _waited(facts, {answer.api}, since, answer.end):
            words = f"{answer.what} at {answer.api} took {answer.end - answer.begin:.1f} s ({answer.status or answer.note})"
            yield Breach("answers ≤ 20 s", words, at=answer.end)


def _leftovers(facts: Facts) -> Iterator[Breach]:
    for stream in facts.streams:
        if stream.pending is None:
            yield Breach("streams are clean", f"{stream.key} has no consumer group")
        elif stream.pending or stream.length > FLOOD:
            yield Breach(
                "streams are clean", f"{stream.key} holds {stream.length} tickets, {stream.pending} of them pending"
            )
    if facts.connections > facts.connections_most:
        words = f"{facts.connections} connections in calm, at most {facts.connections_most} belong to the roles"
        yield Breach("connections are back to normal", words)
    for role, gauges in facts.gauges.items():
        held = {name: value for name, value in gauges.items() if value}
        if held:
            yield Breach("no slot is lost", f"{role} says in calm: {held}")


def growth(life: Life) -> float:
    """Return by how many MB the memory grew once the process was warm."""
    warm = [mb for at, mb in life.rss_mb if at - life.started > RSS_WARM_S]
    return max(warm) - warm[0] if len(warm) > 1 else 0.0


def _memory(facts: Facts) -> Iterator[Breach]:
    for life in facts.lives:
        if growth(life) > RSS_GROWTH_MB:
            yield Breach("memory does not grow", f"{life.role} (pid {life.pid}) grew by {growth(life):.0f} MB")


def near(events: list[Event], at: float) -> list[Event]:
    """Return the faults that lasted at `at` or ended at most a minute before."""
    return [event for event in events if event.begin - 2 <= at <= event.end + 60]
