# ruff: noqa: INP001  单个脚本，不是包
"""The plugin of `benchmarks.limits`: a kind that writes down, outside of Taskmill, when it really ran."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Manifest, Registry, RetryPolicy

FOLDER = "LIMITS_JOURNAL"  # 环境变量：往哪个文件夹写
_files: dict[int, int] = {}


def _write(line: str) -> None:
    """一行是一次追加写：进程被杀也只会少掉整行。"""
    pid = os.getpid()
    if pid not in _files:
        path = Path(os.environ[FOLDER]) / f"{pid}.log"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_files[pid], f"{line} {pid} {time.monotonic():.6f}\n".encode())


@task("limits.journal", queue="limits", timeout=60, retry=RetryPolicy(max_attempts=20, base_delay=0.01))
async def journal(ctx: TaskContext, key: str, sleep_s: float = 0.0) -> None:
    """Write a line at the start and one at the end."""
    _write(f"start {ctx.id} {ctx.claim_no} {key}")
    if sleep_s:
        await asyncio.sleep(sleep_s)
    _write(f"end {ctx.id} {ctx.claim_no} {key}")


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="limits", version="1.0", requires_api=">=1.0,<2", title_en="Limits", title_zh="上限",
        summary_en="A kind that keeps a journal.", summary_zh="记日志的任务。",
    )  # fmt: skip


@hookimpl
def taskmill_register(registry: Registry) -> None:
    """Add the kind."""
    registry.add(journal)
