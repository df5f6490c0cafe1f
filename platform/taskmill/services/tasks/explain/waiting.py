"""Why a task waits, from facts: one function behind the task's view and `explain`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from taskmill import constants as c
from taskmill.clock import rfc3339
from taskmill.services import constants as svc
from taskmill.services.tasks.explain import held
from taskmill.services.tasks.explain import reasons as told
from taskmill.services.tasks.explain.reasons import WaitCode, WaitReason, count, reason
from taskmill.states import WAITING, State
from taskmill.stores.broker import lanes
from taskmill.stores.broker.tickets import BROKER_AWAY, Tickets
from taskmill.stores.database import Queryable
from taskmill.stores.tasks import audit
from taskmill.stores.tasks.audit import AgedLane
from taskmill.stores.tasks.explain import waiting as store
from taskmill.stores.tasks.explain.waiting import AheadFacts, WaitFacts
from taskmill.stores.tasks.limits import HELD_BY_KEY, HELD_BY_QUEUE
from taskmill.stores.tasks.turns import IN_TURN
from taskmill.stores.why import why

HELD: Final = frozenset({HELD_BY_KEY, HELD_BY_QUEUE, IN_TURN})
MOST: Final = svc.EXPLAIN_COUNT_MAX


async def reasons(connection: Queryable, row: Any, tickets: Tickets | None = None) -> list[WaitReason]:
    """Return why the task of this row waits; empty for one that runs or is final, or that will be taken at once.

    With `tickets` Valkey is asked for the ticket of an available one, for TICKET_HANG_S at most.
    """
    state = State(row["state"])
    if state not in WAITING:
        return []
    facts = await store.facts(connection, row["queue"], row["kind"], row["kind_version"])
    found = _of_queue(row, facts)
    dispatch, before = list[WaitReason](), list[WaitReason]()
    about: float | None = None
    if state is State.BLOCKED:
        before = await held.blocked(connection, row)
    elif row["slot"] == IN_TURN:
        before = await held.in_turn(connection, row, facts.at)
    elif row["slot"] in HELD:
        before = await held.by_limit(connection, row, facts.at)
    elif state is State.AVAILABLE and facts.paused_at is None:
        dispatch = await _dispatch(row, facts, tickets)
        if facts.knowing:
            ahead = await store.ahead(connection, row, most=MOST, minutes=svc.PACE_MINUTES)
            about = _about(row, ahead)
            before = _before(row, facts, ahead, about)
    if _needs_scheduler(row, state, before, dispatch) and not facts.scheduled:
        dispatch = [reason(WaitCode.NO_SCHEDULER, row["id"], {}), *dispatch]
    return _in_time(row, facts, about) + found + dispatch + before


def _needs_scheduler(row: Any, state: State, before: list[WaitReason], dispatch: list[WaitReason]) -> bool:
    """已有票据的不再需要调度器；被上限挡着的等的是别人；谁也不等的 blocked，等着有人来看一眼。"""
    if state is State.BLOCKED:
        return not before
    lost = any(each.code is WaitCode.TICKET_LOST for each in dispatch)
    return state is not State.AVAILABLE or lost or (row["ticket_at"] is None and row["slot"] not in HELD)


def _in_time(row: Any, facts: WaitFacts, about: float | None) -> list[WaitReason]:
    """还没到时候的，与快要过期的。"""
    found = list[WaitReason]()
    due = row["state"] in {State.AVAILABLE, State.BLOCKED}
    run_at, expires_at = row["run_at"], row["expires_at"]
    if not due:
        again = told.AGAIN(attempt=row["attempt"]) if row["state"] == State.RETRYABLE else ""
        given = {"run_at": rfc3339(run_at), "in_s": _left(run_at, facts), "attempt": row["attempt"]}
        found.append(reason(WaitCode.NOT_DUE, row["id"], given, again=again))
    if expires_at is None:
        return found
    late = about is not None and facts.at + timedelta(seconds=about) > expires_at
    never = not due and run_at >= expires_at
    if late or never or _left(expires_at, facts) <= svc.EXPIRES_SOON_S:
        given = {"expires_at": rfc3339(expires_at), "in_s": _left(expires_at, facts)}
        words = told.LATER(run_at=rfc3339(run_at)) if never else told.LATE if late else ""
        found.append(reason(WaitCode.EXPIRES_SOON, row["id"], given, why=words))
    return found


def _left(moment: Any, facts: WaitFacts) -> float:
    return round(max(0.0, (moment - facts.at).total_seconds()), 3)


def _of_queue(row: Any, facts: WaitFacts) -> list[WaitReason]:
    """队列停着、没有人来领、没有人认得它、它要独自执行。"""
    task, queue, found = row["id"], row["queue"], list[WaitReason]()
    if facts.paused_at is not None:
        given = {"queue": queue, "by": facts.paused_by, "since": rfc3339(facts.paused_at)}
        found.append(reason(WaitCode.QUEUE_PAUSED, task, given, by=facts.paused_by or "?"))
    if not facts.serving:
        seen = None if facts.last_seen is None else rfc3339(facts.last_seen)
        words = told.LAST_SEEN(seen=seen) if seen else ""
        found.append(reason(WaitCode.NO_WORKER, task, {"queue": queue, "last_seen": seen}, last=words))
    elif not facts.knowing:
        found.append(_unknown(row, facts))
    if row["crash_count"] >= c.SUSPECT_FROM:
        found.append(reason(WaitCode.SUSPECT, task, {"crashes": row["crash_count"], "budget": c.CRASH_BUDGET}))
    return found


def _unknown(row: Any, facts: WaitFacts) -> WaitReason:
    words = facts.broken.get(facts.plugin or "")
    if facts.plugin is None:
        why_so = told.NEVER_REGISTERED
    elif words is not None:
        why_so = told.PLUGIN_BROKEN(plugin=facts.plugin, words=words)
    else:
        why_so = told.PLUGIN_ABSENT(plugin=facts.plugin)
    given = {
        "queue": row["queue"],
        "kind": row["kind"],
        "version": row["kind_version"],
        "workers": facts.serving,
        "plugin": facts.plugin,
        "plugin_said": words,
    }
    return reason(WaitCode.KIND_NOT_SERVED, row["id"], given, why=why_so)


async def _dispatch(row: Any, facts: WaitFacts, tickets: Tickets | None) -> list[WaitReason]:
    """票据这一段路：Valkey 不在，或票丢了。"""
    if facts.knowing and facts.cut_off == facts.knowing:
        return [_down(row, "workers", told.WORKERS, facts.said or "?")]
    if tickets is None:
        return []
    lane = (row["queue"], row["priority"])
    try:
        async with asyncio.timeout(svc.TICKET_HANG_S):
            head = (await lanes.heads(tickets, [lane]))[lane]
    except BROKER_AWAY as error:
        return [_down(row, "api", told.WE, why(error))]
    if row["ticket_at"] is None:
        return []
    margin, now, at = (round(s * 1000) for s in (c.LOST_TICKET_MARGIN_S, facts.at.timestamp(), row["ticket_at"].timestamp()))
    aged = AgedLane(*lane, now, at, ahead=at > now + margin)
    if not any(after < at < before for after, before in audit.lost_spans(aged, head, margin)):
        return []
    repair = told.REPAIRED if facts.scheduled else told.NOT_REPAIRED
    return [reason(WaitCode.TICKET_LOST, row["id"], {"ticket_at": rfc3339(row["ticket_at"])}, repair=repair)]


def _down(row: Any, who: str, name: object, words: str) -> WaitReason:
    return reason(WaitCode.DISPATCH_DOWN, row["id"], {"from": who, "words": words}, who=name)


def _about(row: Any, facts: AheadFacts) -> float | None:
    """每条有任务的道分到的份额，与工作进程读取的权重相同。它自己也许刚被领走：那条道照算。"""
    if facts.per_s is None:
        return None
    share = c.PRIORITY_WEIGHTS[row["priority"]] / sum(c.PRIORITY_WEIGHTS[lane] for lane in {*facts.lanes, row["priority"]})
    return facts.ahead / (facts.per_s * share)


def _before(row: Any, facts: WaitFacts, ahead: AheadFacts, about: float | None) -> list[WaitReason]:
    found = list[WaitReason]()
    if ahead.ahead:
        capped = ahead.ahead > MOST
        given = {
            "queue": row["queue"],
            "priority": row["priority"],
            "ahead": min(ahead.ahead, MOST),
            "capped": capped,
            "per_s": None if ahead.per_s is None else round(ahead.per_s, 3),
            "about_s": None if about is None else round(about, 1),
        }
        words = told.NO_PACE if about is None else told.AT_LEAST if capped else told.ABOUT
        text = words(minutes=svc.PACE_MINUTES, time=_span(about or 0.0))
        found.append(reason(WaitCode.AHEAD, row["id"], given, n=count(ahead.ahead, MOST), about=text))
    if facts.running >= facts.slots:
        given = {"queue": row["queue"], "workers": facts.knowing, "slots": facts.slots, "running": facts.running}
        found.append(reason(WaitCode.WORKERS_BUSY, row["id"], given))
    return found


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
