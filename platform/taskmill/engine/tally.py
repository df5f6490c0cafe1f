"""What attempts came to: one log line for each that failed, one for each task that was discarded, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from uuid import UUID

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.log import get_logger
from taskmill.states import INFRASTRUCTURE, By, Cause, State
from taskmill.stores.tasks.settle import Outcome

log = get_logger(__name__)
Labels = tuple[str, str, str, str]  # kind、queue、outcome、cause
OTHER = "other"
HARMLESS = INFRASTRUCTURE | {Cause.CANCEL}  # 不是任务的过错


class Tally:
    """Counts by (kind, queue, outcome, cause) what was committed. At most TALLY_MAX label sets, the rest is `other`."""

    def __init__(self) -> None:
        self._counts: Counter[Labels] = Counter()

    @property
    def counts(self) -> Mapping[Labels, int]:
        """Return the counts; safe to call from other threads."""
        return dict(self._counts)

    def note(self, outcomes: Iterable[Outcome], done: Mapping[UUID, State]) -> None:
        """Count and report the outcomes of the tasks in `done`, committed with the states that they got."""
        for outcome in outcomes:
            state = done.get(outcome.id)
            if state is None:
                continue
            self._count((outcome.kind, outcome.home, _name(outcome, state), outcome.cause.value if outcome.cause else ""))
            if outcome.cause is not None and outcome.cause not in HARMLESS and state is not State.CANCELLED:
                _report(outcome, state)

    def expired(self, task_id: UUID, kind: str, queue: str, attempt: int) -> None:
        """Count and report a task that was discarded because it expired before it could run."""
        self._count((kind, queue, State.DISCARDED.value, Cause.EXPIRED.value))
        log.error("任务已作废", task_id=str(task_id), kind=kind, queue=queue, attempt=attempt, cause=Cause.EXPIRED.value)

    def _count(self, labels: Labels) -> None:
        if labels not in self._counts and len(self._counts) >= ec.TALLY_MAX:
            labels = (OTHER, OTHER, *labels[2:])
        self._counts[labels] += 1


def _name(outcome: Outcome, state: State) -> str:
    """等待态不说明来历：推迟、交还、重试各有各的名字。"""
    if outcome.by is By.HAND_BACK and state is State.AVAILABLE:
        return "handed_back"
    if outcome.by is By.RESCUE and state is State.AVAILABLE:
        return "rescued"
    return "snoozed" if state is State.SCHEDULED else state.value


def _report(outcome: Outcome, state: State) -> None:
    facts = {
        "task_id": str(outcome.id),
        "kind": outcome.kind,
        "queue": outcome.home,
        "attempt": outcome.attempt,
        "cause": outcome.cause.value if outcome.cause else None,
        "error": outcome.error_type,
        "message": _line(outcome.message),
    }
    waits = {"delay_s": round(outcome.delay_s, 1)} if state is State.RETRYABLE else {}
    log.warning("尝试失败", **facts, next=state.value, **waits)
    if state is State.DISCARDED:
        log.error("任务已作废", **facts)


def _line(message: str | None) -> str:
    """一行、可打印、不太长：错误的文字来自外面，里面什么都可能有。"""
    text = " ".join((message or "").split())
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: ec.LOG_MESSAGE_MAX_CHARS])
    return clean if len(text) <= ec.LOG_MESSAGE_MAX_CHARS else clean + c.TRUNCATED
