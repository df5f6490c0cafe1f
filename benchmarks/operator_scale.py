# ruff: noqa: INP001  单个脚本，不是包
"""The operator with many TaskQueues on a real control plane: `python -m benchmarks.operator_scale` (`make controlplane` first).

One database, idle queues, no nodes: what counts is the operator's own work. Its requests are read from the audit log of the
API server, its statements from pg_stat_statements, its memory and CPU time from /proc. All of it shares one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import httpx2

from benchmarks.report import machine, markdown
from taskmill.kube import names
from tests.cluster.audit import AuditLine
from tests.cluster.crd_support import install_crds
from tests.cluster.kubelet.api import MERGE, Api, ApiError, Cluster
from tests.cluster.operator_support import OperatorProcess
from tests.cluster.plane import ControlPlane
from tests.support import databases, servers

USER, NAMESPACE = "bench-operator", "bench"
QUEUES = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/taskqueues"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
PARALLEL = 16
JOB_S = 10.0  # 一次迁移要这么久：其间所有队列都在等它
QUIET_S = 15.0  # 这么久没有写就算写完了
WRITES = frozenset({"create", "update", "patch", "delete"})
BARS = {"observed_s": 15, "writes_done_s": 60, "rss_peak_mb": 300, "steady_writes_per_s": 1, "tick_ms_max": 250}
QUEUES_USUAL = 1000
MANY, MANY_RSS_MB = 2000, 380  # 这么多队列也装得进 chart 默认的 384Mi；快慢只按一千个来要求
SETTINGS = {**servers.POSTGRES_SETTINGS, "shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top"}


class Bench:
    """One control plane, one database, one operator after the other."""

    def __init__(self, plane: ControlPlane, postgres_url: str, root: Path, *, queues: int, policy: str) -> None:
        self.plane, self.postgres_url, self.root = plane, postgres_url, root
        self.queues, self.policy = queues, policy

    async def prepare(self, api: Api) -> None:
        """Make the namespace, the Secrets and the TaskQueues."""
        self.plane.kubectl("create", "namespace", NAMESPACE)
        install_crds(self.plane.kubectl)
        for name, url in (("database", self.postgres_url), ("broker", "redis://127.0.0.1:1/0")):
            await api.request(
                "POST",
                f"/api/v1/namespaces/{NAMESPACE}/secrets",
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "data": {"url": base64.b64encode(url.encode()).decode()},
                    "metadata": {"name": name, "labels": {f"{names.GROUP}/watch": "true"}},
                },
            )
        gate = asyncio.Semaphore(PARALLEL)

        async def make(number: int) -> None:
            async with gate:
                await api.request("POST", QUEUES, self._queue(number))

        await asyncio.gather(*(make(number) for number in range(self.queues)))

    def _queue(self, number: int) -> dict[str, Any]:
        connection = {"databaseSecretRef": {"name": "database"}, "brokerSecretRef": {"name": "broker"}}
        return {
            "apiVersion": names.API_VERSION,
            "kind": "TaskQueue",
            "metadata": {"name": f"queue-{number:04}"},
            "spec": {"image": "example.com/app:1", "connection": connection, "migration": {"policy": self.policy}},
        }

    async def run(self, api: Api, label: str, *, steady_s: float) -> dict[str, Any]:
        """Start an operator, wait until it has nothing left to write, look at `steady_s` seconds of peace, end it."""
        mark = self.plane.audit.mark()
        folder = self.root / label
        folder.mkdir()
        load = os.getloadavg()[0]
        kubeconfig = self.plane.user_kubeconfig(USER, "system:masters")
        operator = OperatorProcess(folder, kubeconfig, NAMESPACE, OPERATOR_TICK_S="5", LOG_LEVEL="INFO")
        begin, plane_cpu = time.time(), self._plane_cpu_s()
        operator.start()
        finisher = asyncio.create_task(self._finish_jobs(api))
        try:
            await self._until_quiet(operator, mark)
            report = self._report(operator, mark, begin, plane_cpu) | {"load_before": round(load, 1)}
            finisher.cancel()
            report |= await self._steady(operator, steady_s)
            return report | {"rss_peak_mb": round(_rss_peak(operator.pid))}
        finally:
            finisher.cancel()
            with suppress(asyncio.CancelledError):
                await finisher
            operator.stop()

    async def _until_quiet(self, operator: OperatorProcess, mark: int) -> None:
        """日志里没有新的写请求。不去问指标：上千个队列的文本也要它花时间。"""
        count, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET_S or count < 0:
            await asyncio.sleep(1)
            latest = len(self._writes(mark))
            seen = operator.text.count("开始对账")
            if latest != count or not seen:
                count, since = latest if seen else -1, time.monotonic()

    def _plane_cpu_s(self) -> float:
        plane = self.plane
        return sum(_cpu_s(each.pid) for each in (plane.api, plane.etcd, plane.controllers, plane.scheduler))

    def _writes(self, mark: int) -> list[AuditLine]:
        return [
            line for line in self.plane.audit.lines(mark, user=USER) if line.verb in WRITES and line.resource != "leases"
        ]

    def _report(self, operator: OperatorProcess, mark: int, begin: float, plane_cpu: float) -> dict[str, Any]:
        lines = list(self.plane.audit.lines(mark, user=USER))
        writes = self._writes(mark)
        first: dict[str, float] = {}
        for line in writes:
            if line.resource == "taskqueues" and line.subresource == "status" and line.code == 200:  # noqa: PLR2004 - HTTP
                first.setdefault(line.name, _ended(line) - begin)
        return {
            "cached_s": self._said(operator, "缓存已就绪", begin),
            "leading_s": self._said(operator, "开始对账", begin),
            "observed": len(first),
            "observed_s": round(max(first.values(), default=0.0), 2),
            "writes": len(writes),
            "writes_done_s": round(max((_ended(line) - begin for line in writes), default=0.0), 2),
            "requests": _counts(lines),
            "refused": sum(line.code >= 400 for line in lines if line.verb != "get"),  # noqa: PLR2004 - HTTP；get：名字还空着吗
            "cpu_s": round(_cpu_s(operator.pid), 2),
            "plane_cpu_s": round(self._plane_cpu_s() - plane_cpu, 1),
        }

    def _said(self, operator: OperatorProcess, what: str, begin: float) -> float | None:
        found = re.search(rf"^(\S+) .*{what}", operator.text, re.MULTILINE)
        return round(datetime.fromisoformat(found[1]).timestamp() - begin, 2) if found else None

    async def _steady(self, operator: OperatorProcess, seconds: float) -> dict[str, Any]:
        connection = await asyncpg.connect(self.postgres_url)
        try:
            await connection.execute("select pg_stat_statements_reset()")
            mark, cpu, before = self.plane.audit.mark(), _cpu_s(operator.pid), _ticks(operator)
            await asyncio.sleep(seconds)
            after = _ticks(operator)
            rows = await connection.fetch(
                "select query, calls from pg_stat_statements where query not like '%pg_stat_statements%' and calls > 0"
            )
        finally:
            await connection.close()
        lines = [line for line in self.plane.audit.lines(mark, user=USER) if line.verb in WRITES]
        ticks = after["count"] - before["count"]
        calls = Counter({" ".join(row["query"].split())[:60]: row["calls"] for row in rows})
        return {
            "steady_s": seconds,
            "steady_writes_per_s": round(len(lines) / seconds, 2),
            "steady_writes_without_lease": sum(line.resource != "leases" for line in lines),
            "steady_cpu_percent": round(100 * (_cpu_s(operator.pid) - cpu) / seconds, 1),
            "ticks": int(ticks),
            "tick_ms_mean": round(1000 * (after["sum"] - before["sum"]) / max(1, ticks), 1),
            "tick_ms_max": 1000 * _within(before["buckets"], after["buckets"]),
            "observe_per_tick": round(sum(n for text, n in calls.items() if "live as" in text) / max(1, ticks), 2),
            "statements_per_tick": round(sum(calls.values()) / max(1, ticks), 2),
            "statements": dict(calls.most_common()),
        }

    async def _finish_jobs(self, api: Api) -> None:
        """扮演节点：每个 Job 跑一会儿就算完成。"""
        while True:
            await asyncio.sleep(0.5)
            with suppress(ApiError, TimeoutError, aiohttp.ClientError):
                await self._finish_once(api)

    async def _finish_once(self, api: Api) -> None:
        for job in (await api.get(JOBS))["items"]:
            status = job.get("status") or {}
            began = datetime.fromisoformat(status["startTime"]) if status.get("startTime") else None
            if began and not status.get("conditions") and (datetime.now(UTC) - began).total_seconds() >= JOB_S:
                await api.patch(f"{JOBS}/{job['metadata']['name']}/status", _done(), kind=MERGE)


def _done() -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now, "reason": "CompletionsReached"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {
        "status": {
            "conditions": conditions,
            "completionTime": now,
            "active": 0,
            "ready": 0,
            "terminating": 0,
            "succeeded": 1,
        }
    }


def _ended(line: AuditLine) -> float:
    return datetime.fromisoformat(line.raw["stageTimestamp"]).timestamp()


def _counts(lines: Iterable[AuditLine]) -> dict[str, int]:
    found = Counter(f"{line.verb} {line.resource}{'/' + line.subresource if line.subresource else ''}" for line in lines)
    return dict(found.most_common())


def _ticks(operator: OperatorProcess) -> dict[str, Any]:
    """拍数、总时长，和各个桶。"""
    text = httpx2.get(f"{operator.url}/metrics", timeout=30).text
    name = "taskmill_operator_tick_seconds"
    found = {key: float(re.search(rf"^{name}_{key} (\S+)$", text, re.MULTILINE)[1]) for key in ("count", "sum")}  # type: ignore[index]
    buckets = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', text, re.MULTILINE)
    return {**found, "buckets": {float(le): float(count) for le, count in buckets}}


def _within(before: dict[float, float], after: dict[float, float]) -> float:
    """容得下其间每一拍的最小的桶。"""
    grown = {le: count - before[le] for le, count in after.items()}
    return min(le for le, count in grown.items() if count >= max(grown.values()))


def _rss_peak(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bars(queues: int) -> dict[str, float]:
    """Return what so many TaskQueues must keep to."""
    return dict(BARS) if queues <= QUEUES_USUAL else {"rss_peak_mb": MANY_RSS_MB}


async def measure(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the report of a first start, where everything is made, and of a restart, where everything is there."""
    with ControlPlane(root / "plane") as plane, servers.new_postgres(root / "postgres", SETTINGS) as postgres:
        await databases.migrate(postgres.url)
        await databases.execute(postgres.url, "create extension pg_stat_statements")
        bench = Bench(plane, postgres.url, root, queues=options.queues, policy=options.policy)
        async with Api(Cluster(plane.kubeconfig)) as api:
            await bench.prepare(api)
            runs = {label: await bench.run(api, label, steady_s=options.steady) for label in ("first-start", "restart")}
    return {
        "queues": options.queues,
        "migration": options.policy,
        "bars": bars(options.queues),
        "runs": runs,
        "machine": machine(),
    }


def main() -> int:
    """Measure, print a table, and write both forms if `--write` says where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator_scale", description=__doc__)
    parser.add_argument("--queues", type=int, default=QUEUES_USUAL)
    parser.add_argument("--policy", choices=("Auto", "Skip"), default="Auto", help="migration.policy of the queues")
    parser.add_argument("--steady", type=float, default=60, help="seconds of peace that are looked at")
    parser.add_argument("--keep", type=Path, help="folder for the data and logs, kept")
    parser.add_argument("--write", type=Path, help="write NAME.json and NAME.md, e.g. benchmarks/results/operator-scale")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-") as folder:
        root = options.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)  # PostgreSQL 以另一个用户运行
        report = asyncio.run(measure(root.resolve(), options))
    text = json.dumps(report, indent=2, ensure_ascii=False)
    sys.stdout.write(f"{text}\n{markdown(report)}")
    if options.write:
        options.write.with_suffix(".json").write_text(text + "\n")
        options.write.with_suffix(".md").write_text(markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
