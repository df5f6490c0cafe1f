"""Why a task waits: the codes, their words and their next step, once for the task's view, `explain` and the command line."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from taskmill.words import Words


class WaitCode(StrEnum):
    """Why a task does not run yet; several may hold at once."""

    NOT_DUE = "NOT_DUE"
    EXPIRES_SOON = "EXPIRES_SOON"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    NO_WORKER = "NO_WORKER"
    KIND_NOT_SERVED = "KIND_NOT_SERVED"
    WORKERS_BUSY = "WORKERS_BUSY"
    SUSPECT = "SUSPECT"
    NO_SCHEDULER = "NO_SCHEDULER"
    DISPATCH_DOWN = "DISPATCH_DOWN"
    TICKET_LOST = "TICKET_LOST"
    AHEAD = "AHEAD"
    KEY_AT_LIMIT = "KEY_AT_LIMIT"
    QUEUE_AT_LIMIT = "QUEUE_AT_LIMIT"
    RATE_AT_LIMIT = "RATE_AT_LIMIT"
    KEY_RATE_AT_LIMIT = "KEY_RATE_AT_LIMIT"
    KEYS_TAKE_TURNS = "KEYS_TAKE_TURNS"
    NOT_ITS_TURN = "NOT_ITS_TURN"
    SEQUENCE_STOPPED = "SEQUENCE_STOPPED"
    PARENTS_LIVE = "PARENTS_LIVE"


# 挡着它的上限：是不是管键的，是不是速率
AT_LIMIT: Final = {
    (False, False): WaitCode.QUEUE_AT_LIMIT,
    (True, False): WaitCode.KEY_AT_LIMIT,
    (False, True): WaitCode.RATE_AT_LIMIT,
    (True, True): WaitCode.KEY_RATE_AT_LIMIT,
}
WORDS: Final[dict[WaitCode, Words]] = {
    WaitCode.NOT_DUE: Words("到 {run_at} 才执行{again}", "not due before {run_at}{again}"),
    WaitCode.EXPIRES_SOON: Words(
        "{expires_at} 过期：到时还没开始就作废{why}",
        "it expires at {expires_at}, and is discarded if it has not begun by then{why}",
    ),
    WaitCode.QUEUE_PAUSED: Words(
        "队列 {queue} 已暂停：{by}，自 {since}", "the queue {queue} is paused: by {by} since {since}"
    ),
    WaitCode.NO_WORKER: Words("没有活着的工作进程服务队列 {queue}{last}", "no live worker serves the queue {queue}{last}"),
    WaitCode.KIND_NOT_SERVED: Words(
        "服务队列 {queue} 的 {workers} 个工作进程都不认得类型 {kind} 的第 {version} 版{why}",
        "none of the {workers} live workers of the queue {queue} knows version {version} of the kind {kind}{why}",
    ),
    WaitCode.WORKERS_BUSY: Words(
        "能跑它的 {workers} 个工作进程都忙着：{slots} 个槽位占了 {running} 个",
        "all {workers} workers that could run it are busy: {running} of {slots} slots are taken",
    ),
    WaitCode.SUSPECT: Words(
        "它执行时工作进程崩溃过 {crashes} 次（到 {budget} 次作废），所以独自执行：要等一个工作进程腾空",
        "workers crashed {crashes} times while they ran it ({budget} times discard it), so it runs alone: a worker has to be empty first",
    ),
    WaitCode.NO_SCHEDULER: Words(
        "没有活着的调度器，到期的任务不会被放行", "no scheduler lives, so nothing that is due is let go"
    ),
    WaitCode.DISPATCH_DOWN: Words(
        "{who} 连不上 Valkey，票据送不到：{words}；任务在 PostgreSQL 里，没有丢",
        "{who} cannot reach Valkey, so no ticket travels: {words}; the task is safe in PostgreSQL",
    ),
    WaitCode.TICKET_LOST: Words(
        "它的票据（{ticket_at}）不在 Valkey 里了；{repair}", "its ticket of {ticket_at} is not in Valkey any more; {repair}"
    ),
    WaitCode.AHEAD: Words(
        "队列 {queue} 里同一优先级（{priority}）前面还有 {n} 个；{about}",
        "{n} tasks of the queue {queue} with the same priority ({priority}) are before it; {about}",
    ),
    WaitCode.KEY_AT_LIMIT: Words(
        "键 {key} 在队列 {queue} 里已有 {taken} 个（上限 {limit}），前面还有 {n} 个",
        "{taken} tasks of the key {key} have their turn in the queue {queue} (limit {limit}), {n} are before it",
    ),
    WaitCode.QUEUE_AT_LIMIT: Words(
        "队列 {queue} 已有 {taken} 个在执行（上限 {limit}），前面还有 {n} 个",
        "{taken} tasks of the queue {queue} run (limit {limit}), {n} are before it",
    ),
    WaitCode.RATE_AT_LIMIT: Words(
        "队列 {queue} 每 {period} 秒至多开始 {limit} 个，前面还有 {n} 个；{refill}",
        "the queue {queue} starts {limit} tasks in {period} s at most, {n} are before it; {refill}",
    ),
    WaitCode.KEY_RATE_AT_LIMIT: Words(
        "队列 {queue} 里键 {key} 每 {period} 秒至多开始 {limit} 个，前面还有 {n} 个；{refill}",
        "the queue {queue} starts {limit} tasks of the key {key} in {period} s at most, {n} are before it; {refill}",
    ),
    WaitCode.KEYS_TAKE_TURNS: Words(
        "队列 {queue} 里各个公平键轮流：{key} 之前还有 {before} 个键，同一个键的前面还有 {n} 个",
        "fairness keys take turns in the queue {queue}: {before} keys come before {key}, and {n} tasks of the same key",
    ),
    WaitCode.NOT_ITS_TURN: Words(
        "序列 {key} 轮到任务 {head}（{state}），前面有 {n} 个",
        "in the sequence {key} it is the turn of the task {head} ({state}), {n} are before it",
    ),
    WaitCode.SEQUENCE_STOPPED: Words(
        "序列 {key} 停在失败的任务 {id} 上", "the sequence {key} is stopped by the failed task {id}"
    ),
    WaitCode.PARENTS_LIVE: Words("等 {n} 个任务结束：{ids}", "waits for the end of {n} tasks: {ids}"),
}
# 下一步敲什么；没有的只有等
NEXT: Final[dict[WaitCode, tuple[str, ...]]] = {
    WaitCode.QUEUE_PAUSED: ("taskmill queue resume {queue}",),
    WaitCode.NO_WORKER: ("taskmill worker --queue {queue}",),
    WaitCode.KIND_NOT_SERVED: ("taskmill worker list -o wide", "taskmill plugin kinds"),
    WaitCode.WORKERS_BUSY: ("taskmill worker list", "taskmill task list --queue {queue} --state running"),
    WaitCode.SUSPECT: ("taskmill task attempts {task}",),
    WaitCode.NO_SCHEDULER: ("taskmill scheduler",),
    WaitCode.DISPATCH_DOWN: ("taskmill doctor",),
    WaitCode.TICKET_LOST: ("taskmill doctor",),
    WaitCode.AHEAD: ("taskmill worker list",),
    WaitCode.KEY_AT_LIMIT: ("taskmill queue show {queue} -o wide",),
    WaitCode.QUEUE_AT_LIMIT: ("taskmill queue show {queue} -o wide",),
    WaitCode.RATE_AT_LIMIT: ("taskmill queue show {queue} -o wide",),
    WaitCode.KEY_RATE_AT_LIMIT: ("taskmill queue show {queue} -o wide",),
    WaitCode.KEYS_TAKE_TURNS: ("taskmill worker list",),
    WaitCode.NOT_ITS_TURN: ("taskmill task explain {head}",),
    WaitCode.SEQUENCE_STOPPED: ("taskmill task retry {id}", "taskmill task skip {id}"),
    WaitCode.PARENTS_LIVE: ("taskmill task explain {first}",),
}

AGAIN: Final = Words("：第 {attempt} 次尝试失败之后的退避", ": the back-off after attempt {attempt}, which failed")
LATER: Final = Words("，而它到 {run_at} 才执行", ", and it is not due before {run_at}")
LATE: Final = Words("，而照现在的快慢轮不到它", ", and at the pace of now its turn comes later")
LAST_SEEN: Final = Words("；最近一个到 {seen} 为止", "; the last one was there until {seen}")
PLUGIN_BROKEN: Final = Words("：插件 {plugin} 没有起来：{words}", ": the plugin {plugin} did not come up: {words}")
PLUGIN_ABSENT: Final = Words(
    "：那里没有插件 {plugin}，或版本不对", ": the plugin {plugin} is not there, or another version of it"
)
NEVER_REGISTERED: Final = Words("：没有哪个插件登记过它", ": no plugin has ever registered it")
WE: Final = Words("接口", "the API")
WORKERS: Final = Words("工作进程", "the workers")
REPAIRED: Final = Words("审计者几秒之内会找到它、补一张", "the auditor finds that and makes a new one within seconds")
NOT_REPAIRED: Final = Words("要有调度器才会补一张", "it takes a scheduler to make a new one")
ABOUT: Final = Words("照过去 {minutes} 分钟的快慢约要 {time}", "at the pace of the last {minutes} minutes about {time}")
AT_LEAST: Final = Words(
    "照过去 {minutes} 分钟的快慢要 {time} 以上", "at the pace of the last {minutes} minutes {time} or more"
)
NO_PACE: Final = Words(
    "要多久不知道：过去 {minutes} 分钟里这个队列没有结束过任务",
    "how long is unknown: no task of the queue ended in the last {minutes} minutes",
)
MORE_THAN: Final = Words("{n} 个以上", "more than {n}")
REFILLS: Final = Words("桶里 {at} 又有一个令牌", "the bucket has its next token at {at}")
NO_TOKEN: Final = Words("放行了的还没开始，它们开始之后桶才再满", "the bucket fills once those that were let go have begun")
NOW: Final = Words("桶里有令牌，马上放行", "the bucket has a token: it is let go at once")


class WaitReason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason: a stable code, words in both languages, the facts behind them, and the commands that are the next step (none: wait)."""

    code: WaitCode
    message: Words
    facts: dict[str, Any] = {}
    next: list[str] = []


def reason(code: WaitCode, task: object, facts: dict[str, Any], **words: object) -> WaitReason:
    """Return a reason; `words` are what its text needs beside the facts, `task` is the id of the task that waits."""
    told = facts | {"task": task} | words
    steps = [step.format(**told) for step in NEXT.get(code, ())]
    return WaitReason(code=code, message=WORDS[code](**told), facts=facts, next=steps)


def count(n: int, most: int) -> object:
    """Return a bounded count as words tell it: `most` + 1 stands for more than `most`."""
    return MORE_THAN(n=f"{most:,}") if n > most else f"{n:,}"
