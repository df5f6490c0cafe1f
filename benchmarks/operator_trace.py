# ruff: noqa: INP001  单个脚本，不是包
"""The operator under bursts of short tasks and long tasks: `python -m benchmarks.operator_trace` (`make controlplane` first).

    trace → PostgreSQL ← operator (`taskmill operator`) → Kubernetes → workers (`taskmill worker`, processes of this machine)

First, on a migrated database: how long from the TaskQueue to its first running task, and whose share is what. Then the trace:
tasks lost, interrupted, started in time; pods over time. All of it shares one machine, so pods start slowly when it is busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.report import machine
from taskmill.dev import ports
from taskmill.dev.process_table import wait_until
from taskmill.kube import names
from tests.cluster import naps
from tests.cluster.kubelet.api import Api, Cluster
from tests.cluster.lab import BROKER_SECRET, DATABASE_SECRET, Lab
from tests.cluster.operator_support import OperatorProcess, QueueSpace
from tests.cluster.replay import Step, all_ended, opened, outcome, replay, submit
from tests.cluster.timeline import Timeline, since, watched
from tests.support.command import Command
from tests.support.waiting import eventually

NAMESPACE, FIRST, TRACED = "default", "first", "traced"
OBJECTIVE_S, CONCURRENCY, PODS = 30, 4, 6  # 目标是 CRD 的默认值
# 约四分钟：从零突发、长任务与短任务混着、细水长流、大突发、缩容途中又来活、再归零
TRACE = (
    Step(0, 60, 300), Step(20, 6, 25_000), Step(25, 40, 300), Step(45, 60, 250, over_s=30), Step(80, 300, 400),
    Step(95, 10, 30_000), Step(110, 80, 200, over_s=15), Step(140, 200, 300), Step(165, 100, 400), Step(170, 4, 20_000),
    Step(190, 60, 250, over_s=30), Step(225, 150, 300),
)  # fmt: skip
SPEC: dict[str, Any] = {
    "image": naps.IMAGE, "concurrency": CONCURRENCY,
    "connection": {"databaseSecretRef": {"name": DATABASE_SECRET}, "brokerSecretRef": {"name": BROKER_SECRET}},
}  # fmt: skip
SCALING: dict[str, Any] = {
    "minReplicas": 0, "maxReplicas": PODS, "idleSeconds": 20,
    "scaleDown": {"stabilizationSeconds": 5, "periodSeconds": 5},
}  # fmt: skip
BARS = {
    "lost": 0,
    "interrupted": 0,
    "in_time_percent": 95,
    "in_time_percent_after_first_pod": 95,
    "without_pod_start_s": 10,
    "operator_s": 2,
}


async def first_task(space: QueueSpace, lab: Lab) -> dict[str, Any]:
    """From the TaskQueue (a task waits already) to its first running task, in parts."""
    async with opened(lab.postgres.url, lab.valkey.url) as platform, watched(space, FIRST) as timeline:
        ids = await submit(platform, FIRST, [100])
        # API 服务器对刚装上的 CRD 的头一次写有时要等两秒：先走一遍，不算在内
        await space.queue(FIRST, query="?dryRun=All", **SPEC, plugins=[])
        begin = time.time()
        await space.queue(FIRST, **SPEC, plugins=[])
        await all_ended(lab.postgres.url, ids, timeout=180)
        began = (await outcome(lab.postgres.url, ids)).first_began
        # 任务可能在 Pod 被看成就绪之前就做完了
        await eventually(lambda: "pod_ready" in timeline.marks, timeout=60, poll=0.1, why="the pod is ready")
    await space.delete("TaskQueue", FIRST)
    await space.until_gone("TaskQueue", FIRST, timeout=60)
    return parts(timeline, begin, began)


def parts(timeline: Timeline, begin: float, began: float) -> dict[str, Any]:
    """Split the way to the first task: the operator, the migration's pod, the controllers, the worker's pod, the task."""
    at = timeline.marks
    operator = {
        "to_job_s": at["job"] - begin, "to_deployment_s": at["deployment"] - at["job_done"],
        "to_scale_s": at["scaled"] - at["deployment"],
    }  # fmt: skip
    pods = {"migration_job_s": at["job_done"] - at["job"], "pod_start_s": at["pod_ready"] - at["pod"]}
    total = began - begin
    made = {
        "total_s": total, "operator_s": sum(operator.values()), **operator, **pods, "to_pod_s": at["pod"] - at["scaled"],
        "ready_to_task_s": began - at["pod_ready"], "without_pod_start_s": total - pods["pod_start_s"],
        "without_both_pods_s": total - sum(pods.values()),
    }  # fmt: skip
    return {name: round(seconds, 2) for name, seconds in made.items()}


async def trace(
    space: QueueSpace, lab: Lab, operator: OperatorProcess, steps: Sequence[Step], objective: int
) -> dict[str, Any]:
    """Replay the steps on a TaskQueue of zero workers and wait until it has none again."""
    offset = len(operator.text)
    async with opened(lab.postgres.url, lab.valkey.url) as platform, watched(space, TRACED) as timeline:
        await space.queue(TRACED, **SPEC, plugins=[], scaling={**SCALING, "objective": {"startLatencySeconds": objective}})
        await space.condition(TRACED, "Ready", "AsDesired", timeout=120)
        begin = time.time()
        ids = await replay(platform, TRACED, steps)
        await all_ended(lab.postgres.url, ids, timeout=300)
        ended = time.time()
        await space.until("Deployment", names.workload(TRACED), lambda each: each["spec"]["replicas"] == 0, timeout=180)
        queue = await space.api.get(space.path("TaskQueue", TRACED))
    return await report(lab.postgres.url, ids, timeline, (begin, ended), objective) | {
        "interrupted_total_of_status": queue["status"].get("interruptedTotal", 0),
        "orders": {order: operator.text[offset:].count(f"order={order}") for order in ("drain", "run")},
    }


def recorded(command: Command, path: Path) -> None:
    """Write the trace as `taskmill scale record` gives it, through a real API."""
    command.environment["TASKMILL_API_PORT"] = str(ports.choose(None))
    command.environment["TASKMILL_API_URL"] = f"http://{ports.HOST}:{command.environment['TASKMILL_API_PORT']}"
    command.environment["TASKMILL_API_TOKEN"] = command.ok("key", "create", "recorder").strip()
    with command.started("api"):
        if not wait_until(lambda: command.run("queue", "list").returncode == 0, 60):
            raise RuntimeError(command.told("api"))
        command.ok("scale", "record", TRACED, "--out", str(path.resolve()))


async def report(
    database_url: str, ids: Sequence[UUID], timeline: Timeline, span: tuple[float, float], objective: int
) -> dict[str, Any]:
    """Return the figures of a replayed trace."""
    (begin, ended), found, now = span, await outcome(database_url, ids), time.time()
    up, down = timeline.actions()
    starting = max(0.0, timeline.marks.get("pod_ready", begin) - begin)
    boots = sorted(life.ready - life.made for life in timeline.pods.values() if life.ready is not None)
    return {
        "objective_s": objective, "tasks": found.tasks, "lost": found.lost, "interrupted": found.again, "attempts_not_completed": found.causes,
        "in_time_percent": round(100 * found.within(objective), 2),
        "in_time_percent_after_first_pod": round(100 * found.within(objective, since=begin + starting), 2),
        "first_pod_ready_after_s": round(starting, 1),
        "wait_s": {f"p{round(100 * share)}": round(found.quantile(share), 2) for share in (0.5, 0.95, 0.99, 1)},
        "seconds": round(ended - begin, 1), "pod_seconds": round(timeline.pod_seconds(now)), "pods_made": len(timeline.pods),
        "pods_at_once": max((count for _, count in timeline.counts()), default=0),
        "pod_start_s": {"median": round(boots[len(boots) // 2], 1), "max": round(boots[-1], 1)} if boots else {},
        "scaled_up": up, "scaled_down": down,
        "replicas_over_time": since(begin, timeline.replicas), "pods_over_time": since(begin, timeline.counts()),
    }  # fmt: skip


def markdown(made: dict[str, Any]) -> str:
    """Return both tables."""
    first, traced = made["first_task"], made["trace"]
    title = ", ".join(f"{key} {value}" for key, value in made["machine"].items())
    lines = [
        f"The operator under a trace; {title}; load {made['load']}",
        "",
        "| TaskQueue → first task | s | bar |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| {name.removesuffix('_s').replace('_', ' ')} | {value} | {_bar(name, '<')} |" for name, value in first.items()
    ]
    lines += ["", "| trace | | bar |", "|---|---:|---:|"]
    shown = {name: value for name, value in traced.items() if not name.endswith("over_time")}
    for name, value in shown.items():
        text = ", ".join(f"{key} {each}" for key, each in value.items()) or "none" if isinstance(value, dict) else value
        lines.append(f"| {name.replace('_', ' ')} | {text} | {_bar(name, '≥' if name.startswith('in_time') else '')} |")
    line = ", ".join(f"{at:.0f}: {count}" for at, count in traced["replicas_over_time"])
    return "\n".join([*lines, "", f"Replicas (second: number): {line}", ""])


def _bar(name: str, sign: str) -> str:
    return f"{sign} {BARS[name]}".strip() if name in BARS else ""


async def run(lab: Lab, root: Path, *, speed: float, objective: int, record: Path | None) -> dict[str, Any]:
    """Run both parts with one scheduler and one operator."""
    steps = [Step(step.at_s / speed, step.count, step.ms, step.over_s / speed) for step in TRACE]
    lab.kubelet.images.add(naps.IMAGE, naps.image())
    command = Command(root, DATABASE_URL=lab.postgres.url, BROKER_URL=lab.valkey.url)
    load = [round(each, 1) for each in os.getloadavg()]
    operator = OperatorProcess(root, lab.plane.kubeconfig, NAMESPACE, OPERATOR_TICK_S="5").start()
    try:
        with command.started("scheduler"):
            await operator.leads()
            async with Api(Cluster(lab.plane.kubeconfig)) as api:
                space = QueueSpace(api, NAMESPACE)
                made = {
                    "first_task": await first_task(space, lab),
                    "trace": await trace(space, lab, operator, steps, objective),
                }
        if record is not None:
            await asyncio.to_thread(recorded, command, record)
    finally:
        operator.stop()
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "load": load, "bars": BARS, **made}


def main() -> int:
    """Measure, print the tables, and write them where `--out` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator_trace", description=__doc__)
    parser.add_argument("--out", type=Path, help="write PATH.json and PATH.md")
    parser.add_argument("--objective", type=int, default=OBJECTIVE_S, help="start latency in seconds")
    parser.add_argument(
        "--record", type=Path, help="write what was replayed, as it really ran, for `taskmill scale simulate`"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="compress the moments of the trace, not the tasks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskmill-trace-") as folder:
        root = Path(folder).resolve()
        root.chmod(0o755)  # PostgreSQL 以另一个用户运行
        with Lab(root / "lab") as lab:
            made = asyncio.run(run(lab, root, speed=options.speed, objective=options.objective, record=options.record))
    text = markdown(made)
    sys.stdout.write(text)
    if options.out:
        options.out.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
