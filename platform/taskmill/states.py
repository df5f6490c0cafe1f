"""The states of a task, the transitions between them, and the invariants that tests name.

                     submit
            ┌──────────┴───────────┐
            ▼                      ▼
       scheduled ──(stager)──► available ──(claim)──► running ──(settle)──► completed
            ▲                   ▲  ▲  │                 │ │ │
            │                   │  │  │ (decline)       │ │ ├──(settle)──► cancelled
            ├───────────────────┼──┼──┘                 │ │ └──(settle)──► discarded
            ├──(snooze)─────────┼──┼────────────────────┘ │
            │                   │  └──(hand-back, rescue)─┤
       cancel, expiry           │                         ▼
       of a waiting task     (stager)◄─────────────── retryable
       end it at once           ▲
                                └── final ──(manual retry)

A task of a sequence, or with parents, begins `blocked`: not yet its turn, or not all of them have ended. Then it is
released to scheduled or available. From there it is like any other; blocked it may be cancelled, expire, be replaced.

Invariants
 (1)  A committed submit ends final or is waiting, whatever dies.
 (2)  A task has at most one live claim.
 (3)  A stale worker changes nothing.
 (4)  A ticket without a claimable row is harmless.
 (5)  An available row without a ticket gets one within a bounded time, however long other tasks run.
 (6)  A ticket is acknowledged only after the claim committed; from then on row and lease are the truth.
 (7)  A final state changes only by manual retry.
 (8)  Infrastructure interruptions burn no attempts, worker crashes burn `crash_count`; an outage that the
      rescuer's own ticks shared burns neither.
 (9)  Rollups count transitions: finals − reopened − pruned − unretained = rows in history, per queue and kind.
 (10) A unique key has at most one live task.
 (11) Ids are made by the service only, and an id is in at most one of `tasks` and `task_history`.
 (12) Of a sequence at most one task has its turn, and among those that wait the one that was committed first gets it.
 (13) A task with parents is not released while one of them is live, and is once none is.
 (14) In one queue and priority fairness keys take turns: between two tickets of a key, every other key that had a
      task waiting all the time got one.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of a task, by River's names."""

    SCHEDULED = "scheduled"
    AVAILABLE = "available"
    BLOCKED = "blocked"
    RUNNING = "running"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


WAITING = frozenset({State.BLOCKED, State.SCHEDULED, State.AVAILABLE, State.RETRYABLE})
LIVE = WAITING | {State.RUNNING}
FINAL = frozenset({State.COMPLETED, State.CANCELLED, State.DISCARDED})


class Cause(StrEnum):
    """Why an attempt did not complete."""

    ERROR = "error"
    TIMEOUT = "timeout"
    CRASH = "crash"
    CANCEL = "cancel"
    EXPIRED = "expired"
    OOM = "oom"
    EVICTED = "evicted"
    DRAIN = "drain"
    NODE_LOST = "node_lost"


# 容器为何没了，由集群告知；其中前几种是基础设施的事，不算任务的过错
INFRASTRUCTURE = frozenset({Cause.EVICTED, Cause.DRAIN, Cause.NODE_LOST})
# 失败：任务、它的代码或它的分量出了错；取消、过期与基础设施的事不算
FAILURES = frozenset({Cause.ERROR, Cause.TIMEOUT, Cause.CRASH, Cause.OOM})
DEATHS = INFRASTRUCTURE | {Cause.OOM, Cause.CRASH}


class Order(StrEnum):
    """What a worker is told to do: read tickets, or finish what runs and read no more."""

    RUN = "run"
    DRAIN = "drain"


class By(StrEnum):
    """Who performs a transition; each store statement names one."""

    SUBMIT = "submit"
    RELEASE = "release"
    STAGE = "stage"
    CLAIM = "claim"
    DECLINE = "decline"
    SETTLE = "settle"
    HAND_BACK = "hand_back"
    RESCUE = "rescue"
    CANCEL = "cancel"
    EXPIRE = "expire"
    RETRY = "retry"
    REPLACE = "replace"


# (由谁, 从, 到)；从 None 表示新建
TRANSITIONS: frozenset[tuple[By, State | None, State]] = frozenset(
    {
        (By.SUBMIT, None, State.AVAILABLE),
        (By.SUBMIT, None, State.SCHEDULED),
        (By.SUBMIT, None, State.BLOCKED),
        # 轮到它了，等的都结束了
        (By.RELEASE, State.BLOCKED, State.AVAILABLE),
        (By.RELEASE, State.BLOCKED, State.SCHEDULED),
        (By.STAGE, State.SCHEDULED, State.AVAILABLE),
        (By.STAGE, State.RETRYABLE, State.AVAILABLE),
        (By.CLAIM, State.AVAILABLE, State.RUNNING),
        (By.DECLINE, State.AVAILABLE, State.SCHEDULED),
        (By.SETTLE, State.RUNNING, State.COMPLETED),
        (By.SETTLE, State.RUNNING, State.RETRYABLE),
        (By.SETTLE, State.RUNNING, State.DISCARDED),
        (By.SETTLE, State.RUNNING, State.CANCELLED),
        (By.SETTLE, State.RUNNING, State.SCHEDULED),
        (By.HAND_BACK, State.RUNNING, State.AVAILABLE),
        (By.HAND_BACK, State.RUNNING, State.CANCELLED),
        (By.RESCUE, State.RUNNING, State.AVAILABLE),
        (By.RESCUE, State.RUNNING, State.RETRYABLE),
        (By.RESCUE, State.RUNNING, State.DISCARDED),
        (By.RESCUE, State.RUNNING, State.CANCELLED),
        (By.CANCEL, State.SCHEDULED, State.CANCELLED),
        (By.CANCEL, State.AVAILABLE, State.CANCELLED),
        (By.CANCEL, State.RETRYABLE, State.CANCELLED),
        (By.CANCEL, State.BLOCKED, State.CANCELLED),
        (By.EXPIRE, State.SCHEDULED, State.DISCARDED),
        (By.EXPIRE, State.AVAILABLE, State.DISCARDED),
        (By.EXPIRE, State.RETRYABLE, State.DISCARDED),
        (By.EXPIRE, State.BLOCKED, State.DISCARDED),
        # 换了参数与时间：还没到时间的照旧等 stager，已可运行而时间改到将来的退回去等
        (By.REPLACE, State.AVAILABLE, State.SCHEDULED),
        (By.REPLACE, State.AVAILABLE, State.AVAILABLE),
        (By.REPLACE, State.SCHEDULED, State.SCHEDULED),
        (By.REPLACE, State.RETRYABLE, State.RETRYABLE),
        (By.REPLACE, State.BLOCKED, State.BLOCKED),
        (By.RETRY, State.COMPLETED, State.AVAILABLE),
        (By.RETRY, State.CANCELLED, State.AVAILABLE),
        (By.RETRY, State.DISCARDED, State.AVAILABLE),
        # 它的序列里正轮到别的
        (By.RETRY, State.COMPLETED, State.BLOCKED),
        (By.RETRY, State.CANCELLED, State.BLOCKED),
        (By.RETRY, State.DISCARDED, State.BLOCKED),
    }
)


def sources(by: By) -> tuple[State, ...]:
    """Return the states that `by` may take a task from, sorted."""
    return tuple(sorted({source for who, source, _ in TRANSITIONS if who is by and source is not None}))


class TransitionError(ValueError):
    """A transition that is not in the table: a bug of whoever asked for it, and nothing was changed."""

    def __init__(self, by: By, source: State | None, target: State) -> None:
        super().__init__(f"{by} may not move a task from {source} to {target}")
        self.by, self.source, self.target = by, source, target


def allowed(by: By, source: State | None, target: State) -> bool:
    """Say whether `by` may move a task from `source` (None: it is new) to `target`."""
    return (by, source, target) in TRANSITIONS
