"""What became of the tasks: nothing lost, doubled, burnt, or recorded otherwise than it happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.driver.expect import ENDS, Expected
from tests.chaos.driver.facts import Breach, Facts
from tests.chaos.driver.journal import OK
from tests.chaos.driver.roles import Life

PARKED_LEAST_S = 3_600.0  # 离到期还有这么久的，才算有理由在等
MINUS = frozenset({"reopened", "pruned", "unretained"})
CUT_OFF_S = 90.0  # 被网络隔开的工作进程，这么久以内被判死都说得通
Span = tuple[dict[str, Any], dict[str, Any] | None]
ANY = Expected(frozenset({"completed", "discarded"}), attempts=None)


def check(facts: Facts) -> Iterator[Breach]:
    """Yield every breach of the bars on tasks."""
    yield from _lost(facts)
    yield from _doubled(facts)
    yield from _unfinished(facts)
    yield from _ends(facts)
    yield from _recorded_otherwise(facts)
    yield from _crashes(facts)
    yield from _overlaps(facts)
    yield from _rollups(facts)


def _events(facts: Facts, *events: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in facts.lines:
        if line["event"] in events:
            found[line["id"]].append(line)
    return found


def _lost(facts: Facts) -> Iterator[Breach]:
    known = {row["id"] for row in (*facts.tasks, *facts.history)}
    for task_id, lines in _events(facts, "ack", "child", "duplicate").items():
        if task_id not in known:
            yield Breach("0 lost", f"{lines[0]['kind']} was acknowledged and is nowhere", (task_id,), lines[0]["mono"])


def _doubled(facts: Facts) -> Iterator[Breach]:
    live, final = {row["id"] for row in facts.tasks}, Counter(row["id"] for row in facts.history)
    for task_id, count in final.items():
        if count > 1 or task_id in live:
            where = "in tasks and in task_history" if task_id in live else f"{count} times in task_history"
            yield Breach("0 doubled", where, (task_id,))


def _unfinished(facts: Facts) -> Iterator[Breach]:
    acknowledged = _events(facts, "ack")
    parked = {task_id for task_id, lines in acknowledged.items() if lines[0].get("parked")}
    unanswered = sum(line["event"] == "parked-asked" for line in facts.lines) - len(parked)
    for row in facts.tasks:
        waits = row["state"] == "scheduled" and row["due_in_s"] > PARKED_LEAST_S
        if waits and row["id"] not in acknowledged and unanswered > 0:
            unanswered -= 1
        elif not waits or row["id"] not in parked:
            yield Breach(
                "every task final", f"{row['kind']} is still {row['state']}, attempt {row['attempt']}", (row["id"],)
            )


def _asked(facts: Facts, what: str) -> frozenset[str]:
    return frozenset(_events(facts, f"{what}-asked"))


def _ends(facts: Facts) -> Iterator[Breach]:
    """结局与用掉的次数。"""
    cancelled, retried = _asked(facts, "cancel"), _asked(facts, "retry")
    excused = set(_killed_alone(facts))
    causes = {(row["task_id"], row["claim_no"]): row["cause"] for row in facts.attempts}
    for row in facts.history:
        expected = ENDS.get(row["kind"], ANY)
        fine = expected.states | ({"cancelled"} if row["id"] in cancelled else frozenset())
        cause = causes.get((row["id"], row["claim_no"]))
        at = row["finished_at"] + facts.shift
        if row["state"] not in fine:
            if not (cause == "crash" and row["id"] in excused):
                bar = "innocents survive crashes" if cause == "crash" else "ends as it must"
                yield Breach(bar, f"{row['kind']} ended {row['state']} ({cause}): {row['error']}", (row["id"],), at)
            continue
        if row["state"] == "cancelled" or expected.attempts is None or row["id"] in retried or cause == "crash":
            continue
        if row["attempt"] > expected.attempts:
            why = [f"{each['cause']}: {each['message']}" for each in facts.attempts if each["task_id"] == row["id"]]
            text = f"{row['kind']} used {row['attempt']} attempts, {expected.attempts} are its own: {'; '.join(why)[:400]}"
            yield Breach("0 attempts burnt", text, (row["id"],), at)


def _killed_alone(facts: Facts) -> Iterator[str]:
    """被驱动程序自己打断到预算用完的：最后一次的进程是我们杀的或冻的，里面又没有别的嫌犯。"""
    starts = _events(facts, "start")
    deadly = {line["pid"] for lines in starts.values() for line in lines if ENDS.get(line["kind"], ANY).deadly}
    ours = {life.pid for life in facts.lives if life.ended_by or life.stopped} - deadly
    for row in facts.history:
        last = starts.get(row["id"], [])
        if last and last[-1]["pid"] in ours:
            yield row["id"]


def spans(facts: Facts) -> dict[tuple[str, int], Span]:
    """Return the lines of start and end of each claim, by task and claim; who was killed has no end."""
    found: dict[tuple[str, int], Span] = {}
    for line in facts.lines:
        if line["event"] == "start":
            found[line["id"], line["claim"]] = (line, None)
        elif line["event"] == "end" and (line["id"], line["claim"]) in found:
            found[line["id"], line["claim"]] = (found[line["id"], line["claim"]][0], line)
    return found


def _recorded_otherwise(facts: Facts) -> Iterator[Breach]:
    """按时结束的，不许记成超时或作废。"""
    final = {row["id"]: row for row in facts.history}
    timed_out = {(row["task_id"], row["claim_no"]) for row in facts.attempts if row["cause"] == "timeout"}
    for (task_id, claim), (start, end) in spans(facts).items():
        row = final.get(task_id)
        if row is None or end is None:
            continue
        took, limit = end["mono"] - start["mono"], row["timeout_ms"] / 1000
        if took >= limit - 0.5:
            continue
        if (task_id, claim) in timed_out:
            text = f"{row['kind']} ended ({end['how']}) after {took:.1f} s of {limit:g} s and is recorded as timed out"
            yield Breach("0 completed recorded otherwise", text, (task_id,), end["mono"])
        elif end["how"] == OK and row["state"] == "discarded" and ENDS.get(row["kind"], ANY).states == {"completed"}:
            text = f"{row['kind']} ended well after {took:.1f} s of {limit:g} s and is discarded"
            yield Breach("0 completed recorded otherwise", text, (task_id,), end["mono"])


def _crashes(facts: Facts) -> Iterator[Breach]:
    """记了崩溃的，那个进程真的死过、冻过，或被隔开过。"""
    pids = {row["id"]: row["pid"] for row in facts.workers}
    lives: dict[int, list[Life]] = defaultdict(list)
    for life in facts.lives:
        lives[life.pid].append(life)
    for row in facts.attempts:
        if row["cause"] != "crash":
            continue
        at = row["finished_at"] + facts.shift
        died = any(
            (life.ended is not None and life.ended <= at + 1) or any(begin <= at for begin, _ in life.stopped)
            for life in lives.get(pids.get(row["worker_id"], -1), [])
        )
        cut = any(event.family == "network" and event.begin <= at <= event.end + CUT_OFF_S for event in facts.events)
        if not died and not cut:
            text = f"a crash is recorded of process {pids.get(row['worker_id'])}, which lived"
            yield Breach("0 crashes counted without a crash", text, (row["task_id"],), at)


def _overlaps(facts: Facts) -> Iterator[Breach]:
    """两次认领不许同时活着，除非前一次的租约已失，或它的时限已过。"""
    claims = spans(facts)
    ends = {life.pid: life.ended for life in facts.lives}
    dead = {row["id"]: row["dead_at"] + facts.shift for row in facts.workers if row["dead_at"] is not None}
    by_pid: dict[int, list[float]] = defaultdict(list)
    for row in facts.workers:
        if row["id"] in dead:
            by_pid[row["pid"]].append(dead[row["id"]])
    limits = {row["id"]: row["timeout_ms"] / 1000 for row in (*facts.tasks, *facts.history)}
    for (task_id, claim), (start, end) in claims.items():
        later = claims.get((task_id, claim + 1))
        until = end["mono"] if end is not None else ends.get(start["pid"])
        if later is None or (until is not None and until <= later[0]["mono"]):
            continue
        begun = later[0]["mono"]
        fenced = any(start["mono"] <= at <= begun + 0.5 for at in by_pid[start["pid"]])
        overdue = begun - start["mono"] >= limits.get(task_id, 0.0)
        if not fenced and not overdue and not ENDS.get(start["kind"], ANY).outlives:
            text = f"{start['kind']}: claim {claim} in {start['pid']} still ran when claim {claim + 1} began in {later[0]['pid']}"
            yield Breach("no two live claims", text, (task_id,), begun)


def _rollups(facts: Facts) -> Iterator[Breach]:
    rows = Counter((row["queue"], row["kind"]) for row in facts.history)
    sums: Counter[tuple[str, str]] = Counter()
    for row in facts.rollups:
        sums[row["queue"], row["kind"]] += -row["n"] if row["outcome"] in MINUS else row["n"]
    for key in sorted(rows.keys() | sums.keys()):
        if rows[key] != sums[key]:
            yield Breach("rollups fit history", f"{key[1]} in {key[0]}: {sums[key]} counted, {rows[key]} rows")
