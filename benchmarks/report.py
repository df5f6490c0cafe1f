# ruff: noqa: INP001  单个脚本，不是包
"""The machine that figures belong to, and a report as a table."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import taskmill

ROWS = {
    "cached_s": "all in the caches, s", "leading_s": "leads, database seen, s",
    "observed_s": "all observed (first status written), s", "writes": "writes until quiet", "writes_done_s": "last write, s",
    "cpu_s": "CPU of the operator until quiet, s", "plane_cpu_s": "CPU of the control plane meanwhile, s", "rss_peak_mb": "RSS peak, MB", "steady_writes_per_s": "writes/s in peace, lease included",
    "steady_writes_without_lease": "writes in peace without the lease", "steady_cpu_percent": "CPU in peace, % of a core",
    "tick_ms_mean": "decision tick, mean ms", "tick_ms_max": "decision tick, all within ms",
    "observe_per_tick": "observe statements per tick", "statements_per_tick": "statements per tick", "refused": "refused requests",
    "load_before": "load before",
}  # fmt: skip


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    cpu = re.search(r"model name\s+: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(), "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
        "taskmill": taskmill.__version__,
    }  # fmt: skip


def markdown(report: dict[str, Any]) -> str:
    """Return the report as a table with its bars."""
    runs, bars = report["runs"], report["bars"]
    lines = [
        f"{report['queues']:,} TaskQueues on one database (migration {report['migration']}), "
        + ", ".join(f"{key} {value}" for key, value in report["machine"].items()),
        "", f"| | {' | '.join(runs)} | bar |", f"|---|{'---:|' * len(runs)}---:|",
    ]  # fmt: skip
    for key, about in ROWS.items():
        values = " | ".join(str(run.get(key, "")) for run in runs.values())
        lines.append(f"| {about} | {values} | {bars.get(key, '')} |")
    return "\n".join(lines) + "\n"
