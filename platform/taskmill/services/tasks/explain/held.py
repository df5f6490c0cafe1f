"""What a task waits for that a limit holds, or that comes after others."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from taskmill.clock import rfc3339
from taskmill.services import constants as svc
from taskmill.services.tasks.explain import reasons as told
from taskmill.services.tasks.explain.reasons import WaitCode, WaitReason, count, reason
from taskmill.stores.database import Queryable
from taskmill.stores.tasks.explain import waiting as store
from taskmill.stores.tasks.explain.waiting import HeldFacts
from taskmill.stores.tasks.limits import HELD_BY_KEY
from taskmill.stores.tasks.order import dependencies
from taskmill.words import Words

MOST = svc.EXPLAIN_COUNT_MAX


async def by_limit(connection: Queryable, row: Any, now: datetime) -> list[WaitReason]:
    """Return what holds a task that a limit holds: its key or its queue, by the slots or by the rate."""
    held = await store.held(connection, row, most=MOST, shown=svc.EXPLAIN_IDS)
    return [] if held is None else [_limit(row, held, held.ahead, now)]


async def in_turn(connection: Queryable, row: Any, now: datetime) -> list[WaitReason]:
    """Return how many fairness keys come before that of a task, and the limit of its queue if that is reached, too."""
    keys, ahead = await store.keys_before(connection, row, most=svc.KEYS_BEFORE_MAX)
    most = svc.KEYS_BEFORE_MAX
    given = {
        "queue": row["queue"], "key": row["fairness_key"], "keys": min(keys, most), "ahead": min(ahead, most),
        "capped": max(keys, ahead) > most,
    }  # fmt: skip
    found = [reason(WaitCode.KEYS_TAKE_TURNS, row["id"], given, before=count(keys, most), n=count(ahead, most))]
    held = await store.held(connection, row, most=MOST, shown=svc.EXPLAIN_IDS)
    if held is not None and (_full(held) or (held.rate is not None and held.refill_s != 0)):
        found.append(_limit(row, held, keys + ahead, now))
    return found


def _full(held: HeldFacts) -> bool:
    return held.may is not None and held.taken >= held.may


def _limit(row: Any, held: HeldFacts, ahead: int, now: datetime) -> WaitReason:
    keyed = row["slot"] == HELD_BY_KEY
    given: dict[str, Any] = {
        "queue": row["queue"],
        **({"key": row["concurrency_key"]} if keyed else {}),
        "ahead": min(ahead, MOST),
        "capped": ahead > MOST,
        "taken": min(held.taken, MOST),
        "holders": [str(holder) for holder in held.holders],
    }
    n = count(ahead, MOST)
    rate = None if _full(held) else held.rate
    code = told.AT_LIMIT[keyed, rate is not None]
    if rate is None:
        return reason(code, row["id"], given | {"limit": held.may}, n=n, taken=count(held.taken, MOST))
    at = None if held.refill_s is None else rfc3339(now + timedelta(seconds=held.refill_s))
    given |= {"limit": rate.limit, "period_s": rate.period_s, "refill_at": at}
    return reason(code, row["id"], given, n=n, period=f"{rate.period_s:g}", refill=_refill(held, at))


def _refill(held: HeldFacts, at: str | None) -> Words:
    if at is None:
        return told.NO_TOKEN
    return told.REFILLS(at=at) if held.refill_s else told.NOW


async def blocked(connection: Queryable, row: Any) -> list[WaitReason]:
    """Return whose turn it is, what stops its sequence, and for which tasks it waits; empty: somebody has to look."""
    found = list[WaitReason]()
    key = row["sequence_key"]
    turn = None if key is None else await store.turn(connection, row["id"], most=MOST)
    if turn is not None and turn.head is not None:
        given = {
            "key": key, "head": str(turn.head), "state": turn.state, "ahead": min(turn.ahead, MOST), "capped": turn.ahead > MOST,
        }  # fmt: skip
        found.append(reason(WaitCode.NOT_ITS_TURN, row["id"], given, n=count(turn.ahead, MOST), state=turn.state or "?"))
    elif turn is not None and turn.stopped_by is not None:
        found.append(reason(WaitCode.SEQUENCE_STOPPED, row["id"], {"key": key, "id": str(turn.stopped_by)}))
    parents = [(parent, state) for parent, state in await dependencies.parents(connection, row["id"]) if state is not None]
    if parents:
        shown = ", ".join(f"{parent} ({state})" for parent, state in parents[: svc.LOG_KEYS_MAX])
        more = "" if len(parents) <= svc.LOG_KEYS_MAX else ", …"
        given = {"n": len(parents), "parents": [{"id": str(parent), "state": state.value} for parent, state in parents]}
        found.append(reason(WaitCode.PARENTS_LIVE, row["id"], given, ids=shown + more, first=parents[0][0]))
    return found
