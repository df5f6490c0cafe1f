"""Limits, unique keys, sequences and parents, judged by what really ran: intervals of the journal, not rows of Taskmill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.driver.audit_tasks import Span, spans
from tests.chaos.driver.controls import LIMITED, MOST, MOST_PER_KEY
from tests.chaos.driver.facts import Breach, Facts

BARS = {"unique": "a unique key runs once at a time", "sequence": "a sequence runs one at a time"}
SLACK_S = 0.5  # PostgreSQL 的时刻换算过来，差不了这么多


@dataclass(frozen=True, slots=True)
class Ran:
    """An attempt that counts against a limit: until its handler ended, its process died, or its worker's lease was lost."""

    task_id: str
    begin: float
    end: float


def check(facts: Facts) -> Iterator[Breach]:
    """Yield every breach of the bars on limits and unique keys."""
    for (what, name), runs in sorted(_groups(facts).items()):
        limit = MOST if what == "queue" else MOST_PER_KEY  # 唯一键与序列也都是一个
        for at, ids in _beyond(runs, limit):
            bar = BARS.get(what, "limits hold")
            yield Breach(bar, f"{len(ids)} tasks of {what} {name} ran at once, {limit} may", ids, at)
    yield from _duplicates(facts)
    yield from _overtaken(facts)
    yield from _passed_a_stop(facts)
    yield from _too_early(facts)


def _groups(facts: Facts) -> dict[tuple[str, str], list[Ran]]:
    rows = {row["id"]: row for row in (*facts.tasks, *facts.history)}
    groups: dict[tuple[str, str], list[Ran]] = defaultdict(list)
    for (task_id, _), span in spans(facts).items():
        row = rows.get(task_id)
        if row is None:
            continue  # 丢了的任务，另有一条规矩说它
        run = Ran(task_id, span[0]["mono"], _until(facts, span))
        if row["queue"] == LIMITED:
            groups["queue", LIMITED].append(run)
            if row.get("concurrency_key") is not None:
                groups["key", row["concurrency_key"]].append(run)
        if row.get("unique_key") is not None:
            groups["unique", row["unique_key"]].append(run)
        if row.get("sequence_key") is not None:
            groups["sequence", row["sequence_key"]].append(run)
    return groups


def _until(facts: Facts, span: Span) -> float:
    start, end = span
    lost = (
        row["dead_at"] + facts.shift - SLACK_S
        for row in facts.workers
        if row["pid"] == start["pid"] and row["dead_at"] is not None and row["dead_at"] + facts.shift >= start["mono"]
    )
    died = (life.ended for life in facts.lives if life.pid == start["pid"] and life.ended is not None)
    return min(end["mono"] if end is not None else float("inf"), *lost, *died, float("inf"))


def _beyond(runs: list[Ran], limit: int) -> Iterator[tuple[float, tuple[str, ...]]]:
    """某一刻多于上限的，每次越过说一回。"""
    running: dict[int, Ran] = {}
    for number, run in enumerate(sorted(runs, key=lambda run: run.begin)):
        running = {key: other for key, other in running.items() if other.end > run.begin}
        running[number] = run
        if len(running) == limit + 1:
            yield run.begin, tuple(sorted({other.task_id for other in running.values()}))


def _runs(facts: Facts) -> dict[str, list[Ran]]:
    found: dict[str, list[Ran]] = defaultdict(list)
    for (task_id, _), span in spans(facts).items():
        found[task_id].append(Ran(task_id, span[0]["mono"], _until(facts, span)))
    return found


def _retried(facts: Facts) -> set[str]:
    """人手重试的又跑一遍，在后面的之后，是应该的。"""
    return {line["id"] for line in facts.lines if line["event"] == "retry-asked"}


def _overtaken(facts: Facts) -> Iterator[Breach]:
    """号码小的从没在号码大的之后开始过；没有跑过的（取消的）不算。"""
    runs, retried = _runs(facts), _retried(facts)
    members: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in (*facts.tasks, *facts.history):
        if row.get("sequence_key") is not None and row["id"] in runs and row["id"] not in retried:
            members[row["sequence_key"]].append((row["sequence_no"], row["id"]))
    for key, found in sorted(members.items()):
        latest, before = 0.0, ""
        for _, task_id in sorted(found):
            first = min(run.begin for run in runs[task_id])
            if first < latest:
                yield Breach(
                    "sequences never overtake", f"of {key} it began before an earlier one did", (before, task_id), first
                )
            last = max(run.begin for run in runs[task_id])
            if last > latest:
                latest, before = last, task_id


def _passed_a_stop(facts: Facts) -> Iterator[Breach]:
    """失败而要后面的等着的，后面的在有人管它之前没有开始过。"""
    runs, retried = _runs(facts), _retried(facts)
    asked: dict[str, list[float]] = defaultdict(list)
    for line in facts.lines:
        if line["event"] in {"skip-asked", "cancel-asked"}:
            asked[line["id"]].append(line["mono"])
    members = [row for row in (*facts.tasks, *facts.history) if row.get("sequence_key") is not None]
    for row in members:
        if row.get("state") != "discarded" or not row.get("sequence_stop") or row["id"] in retried:
            continue
        last = max((run.begin for run in runs.get(row["id"], ())), default=0.0)
        until = min((at for at in asked[row["id"]] if at > last), default=float("inf"))
        for other in members:
            if other["sequence_key"] != row["sequence_key"] or other["sequence_no"] <= row["sequence_no"]:
                continue
            early = [run.begin for run in runs.get(other["id"], ()) if run.begin < until]
            if early:
                words = f"of {row['sequence_key']} it began though an earlier one had failed"
                yield Breach("a stopped sequence waits", words, (row["id"], other["id"]), min(early))


def _too_early(facts: Facts) -> Iterator[Breach]:
    """等别的任务的，在它们都结束之后才开始。"""
    runs, retried = _runs(facts), _retried(facts)
    for line in facts.lines:
        if line["event"] != "depends" or line["id"] not in runs or line["id"] in retried:
            continue
        first = min(run.begin for run in runs[line["id"]])
        late = [
            parent
            for parent in line["parents"]
            if parent not in retried and any(run.begin > first for run in runs.get(parent, ()))
        ]
        if late:
            yield Breach("children wait for their parents", "it began before a parent did", (line["id"], *late), first)


def _duplicates(facts: Facts) -> Iterator[Breach]:
    keys = {row["id"]: row.get("unique_key") for row in (*facts.tasks, *facts.history)}
    for line in facts.lines:
        if line["event"] == "duplicate" and keys.get(line["id"]) != line["key"]:
            words = f"an answer named it as the holder of {line['key']}, it has the key {keys.get(line['id'])}"
            yield Breach("duplicates name the holder", words, (line["id"],), line["mono"])
