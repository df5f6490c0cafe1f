"""Why a task waits, told where one looks: codes with words. A full `explain` will build on these reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from taskmill.clock import rfc3339
from taskmill.controls.rate import Rate
from taskmill.services import constants as c
from taskmill.states import WAITING, State
from taskmill.stores.database import Queryable
from taskmill.stores.tasks import waiting as store
from taskmill.stores.tasks.limits import HELD_BY_KEY, HELD_BY_QUEUE
from taskmill.stores.tasks.order import dependencies
from taskmill.stores.tasks.turns import IN_TURN
from taskmill.stores.tasks.waiting import HeldFacts, WaitFacts
from taskmill.words import Words

HELD: Final = frozenset({HELD_BY_KEY, HELD_BY_QUEUE, IN_TURN})


class WaitCode(StrEnum):
    """Why a task does not run yet; several may hold at once."""

    NOT_DUE = "NOT_DUE"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    NO_WORKER = "NO_WORKER"
    KIND_NOT_SERVED = "KIND_NOT_SERVED"
    NO_SCHEDULER = "NO_SCHEDULER"
    KEY_AT_LIMIT = "KEY_AT_LIMIT"
    QUEUE_AT_LIMIT = "QUEUE_AT_LIMIT"
    RATE_AT_LIMIT = "RATE_AT_LIMIT"
    KEY_RATE_AT_LIMIT = "KEY_RATE_AT_LIMIT"
    KEYS_TAKE_TURNS = "KEYS_TAKE_TURNS"
    NOT_ITS_TURN = "NOT_ITS_TURN"
    SEQUENCE_STOPPED = "SEQUENCE_STOPPED"
    PARENTS_LIVE = "PARENTS_LIVE"


WORDS: Final[dict[WaitCode, Words]] = {
    WaitCode.NOT_DUE: Words("到 {run_at} 才执行", "not due before {run_at}"),
    WaitCode.QUEUE_PAUSED: Words(
        "队列 {queue} 已暂停：{by}，自 {since}；taskmill queue resume {queue}",
        "the queue {queue} is paused: by {by} since {since}; taskmill queue resume {queue}",
    ),
    WaitCode.NO_WORKER: Words(
        "没有活着的工作进程服务队列 {queue}；taskmill worker --queue {queue}",
        "no live worker serves the queue {queue}; taskmill worker --queue {queue}",
    ),
    WaitCode.KIND_NOT_SERVED: Words(
        "服务队列 {queue} 的工作进程都不认得类型 {kind} 的第 {version} 版；看它们的日志与 taskmill node list -o wide",
        "no live worker of the queue {queue} knows version {version} of the kind {kind}; see their logs and taskmill node list -o wide",
    ),
    WaitCode.NO_SCHEDULER: Words(
        "没有活着的调度器，到期的任务不会被放行；taskmill scheduler",
        "no scheduler lives, so nothing that is due is let go; taskmill scheduler",
    ),
    WaitCode.KEY_AT_LIMIT: Words(
        "键 {key} 在队列 {queue} 里已有 {of_key} 个（上限 {per_key}），前面还有 {ahead} 个",
        "{of_key} tasks of the key {key} have their turn in the queue {queue} (limit {per_key}), {ahead} are before it",
    ),
    WaitCode.QUEUE_AT_LIMIT: Words(
        "队列 {queue} 已有 {running} 个在执行（上限 {most}），前面还有 {ahead} 个",
        "{running} tasks of the queue {queue} run (limit {most}), {ahead} are before it",
    ),
    WaitCode.RATE_AT_LIMIT: Words(
        "队列 {queue} 每 {period} 秒至多开始 {limit} 个，前面还有 {ahead} 个",
        "the queue {queue} starts {limit} tasks in {period} s at most, {ahead} are before it",
    ),
    WaitCode.KEY_RATE_AT_LIMIT: Words(
        "队列 {queue} 里键 {key} 每 {period} 秒至多开始 {limit} 个，前面还有 {ahead} 个",
        "the queue {queue} starts {limit} tasks of the key {key} in {period} s at most, {ahead} are before it",
    ),
    WaitCode.KEYS_TAKE_TURNS: Words(
        "队列 {queue} 里各个公平键轮流：{key} 之前还有 {keys} 个键，同一个键的前面还有 {ahead} 个",
        "fairness keys take turns in the queue {queue}: {keys} keys come before {key}, and {ahead} tasks of the same key",
    ),
    WaitCode.NOT_ITS_TURN: Words(
        "序列 {key} 轮到任务 {head}（{state}），前面有 {ahead} 个",
        "in the sequence {key} it is the turn of the task {head} ({state}), {ahead} are before it",
    ),
    WaitCode.SEQUENCE_STOPPED: Words(
        "序列 {key} 停在失败的任务 {id} 上；taskmill task retry {id} 或 taskmill task skip {id}",
        "the sequence {key} is stopped by the failed task {id}; taskmill task retry {id} or taskmill task skip {id}",
    ),
    WaitCode.PARENTS_LIVE: Words("等 {n} 个任务结束：{ids}", "waits for the end of {n} tasks: {ids}"),
}


class WaitReason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason: a stable code, and words in both languages that name the way out."""

    code: WaitCode
    message: Words


async def reasons(connection: Queryable, row: Any) -> list[WaitReason]:
    """Return why the task of this row waits; empty for one that runs or is final, or that will be taken at once."""
    state = State(row["state"])
    if state not in WAITING:
        return []
    facts = await store.facts(connection, row["queue"], row["kind"], row["kind_version"])
    found = [WaitReason(code=code, message=WORDS[code](**_facts(row, facts))) for code in _codes(row, state, facts)]
    if state is State.BLOCKED:
        found += await _blocked(connection, row, facts)
    return found + (await _held(connection, row) if row["slot"] in HELD else [])


async def _blocked(connection: Queryable, row: Any, facts: WaitFacts) -> list[WaitReason]:
    """轮到谁、还等谁；谁也不等的，等着有人来看一眼，那要有调度器。"""
    told: list[tuple[WaitCode, dict[str, Any]]] = []
    if row["sequence_key"] is not None and (turn := await store.turn(connection, row["id"])) is not None:
        key = row["sequence_key"]
        if turn.head is not None:
            head = {"key": key, "head": turn.head, "state": turn.state or "?", "ahead": turn.ahead}
            told.append((WaitCode.NOT_ITS_TURN, head))
        elif turn.stopped_by is not None:
            told.append((WaitCode.SEQUENCE_STOPPED, {"key": key, "id": turn.stopped_by}))
    parents = [(parent, state) for parent, state in await dependencies.parents(connection, row["id"]) if state is not None]
    if parents:
        shown = ", ".join(f"{parent} ({state})" for parent, state in parents[: c.LOG_KEYS_MAX])
        more = "" if len(parents) <= c.LOG_KEYS_MAX else ", …"
        told.append((WaitCode.PARENTS_LIVE, {"n": len(parents), "ids": shown + more}))
    if not told and not facts.scheduled:
        told.append((WaitCode.NO_SCHEDULER, {}))
    return [WaitReason(code=code, message=WORDS[code](**words)) for code, words in told]


async def _held(connection: Queryable, row: Any) -> list[WaitReason]:
    held = await store.held(connection, row)
    if held is None:
        return []
    if row["slot"] == IN_TURN:
        return await _in_turn(connection, row, held)
    by_key = row["slot"] == HELD_BY_KEY
    raw, most, taken = (
        (held.rate_per_key, held.max_running_per_key, held.of_key) if by_key else (held.rate, held.max_running, held.running)
    )
    rate = None if raw is None else msgspec.json.decode(raw, type=Rate)
    if rate is None or (most is not None and taken >= most):
        code = WaitCode.KEY_AT_LIMIT if by_key else WaitCode.QUEUE_AT_LIMIT
    else:
        code = WaitCode.KEY_RATE_AT_LIMIT if by_key else WaitCode.RATE_AT_LIMIT
    told = {
        "queue": row["queue"],
        "key": row["concurrency_key"],
        "of_key": held.of_key,
        "per_key": held.max_running_per_key,
        "running": held.running,
        "most": held.max_running,
        "limit": rate and rate.limit,
        "period": rate and f"{rate.period_s:g}",
        "ahead": held.ahead,
    }
    return [WaitReason(code=code, message=WORDS[code](**told))]


async def _in_turn(connection: Queryable, row: Any, held: HeldFacts) -> list[WaitReason]:
    """等轮到公平键的；队列自己也满了的，也说。"""
    keys, ahead = await store.keys_before(connection, row, c.KEYS_BEFORE_MAX + 1)
    shown = keys if keys <= c.KEYS_BEFORE_MAX else f"{c.KEYS_BEFORE_MAX}+"
    told = {"queue": row["queue"], "key": row["fairness_key"], "keys": shown, "ahead": ahead}
    found = [WaitReason(code=WaitCode.KEYS_TAKE_TURNS, message=WORDS[WaitCode.KEYS_TAKE_TURNS](**told))]
    if held.max_running is not None and held.running >= held.max_running:
        full = {"queue": row["queue"], "running": held.running, "most": held.max_running, "ahead": keys + ahead}
        found.append(WaitReason(code=WaitCode.QUEUE_AT_LIMIT, message=WORDS[WaitCode.QUEUE_AT_LIMIT](**full)))
    return found


def _codes(row: Any, state: State, facts: WaitFacts) -> list[WaitCode]:
    due = state in {State.AVAILABLE, State.BLOCKED}
    # 已有票据的不再需要调度器；被上限挡着的等的是别人
    needs_scheduler = not due or (state is State.AVAILABLE and row["ticket_at"] is None and row["slot"] not in HELD)
    holds = {
        WaitCode.NOT_DUE: not due,
        WaitCode.QUEUE_PAUSED: facts.paused_at is not None,
        WaitCode.NO_WORKER: not facts.served,
        WaitCode.KIND_NOT_SERVED: facts.served and not facts.known,
        WaitCode.NO_SCHEDULER: needs_scheduler and not facts.scheduled,
    }
    return [code for code, held in holds.items() if held]


def _facts(row: Any, facts: WaitFacts) -> dict[str, Any]:
    return {
        "run_at": rfc3339(row["run_at"]),
        "queue": row["queue"],
        "kind": row["kind"],
        "version": row["kind_version"],
        "by": facts.paused_by or "?",
        "since": "?" if facts.paused_at is None else rfc3339(facts.paused_at),
    }
