"""A plugin that pods get from a ConfigMap: naps as those of the other tests, a task that eats memory, one that fills the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Manifest, Registry

NAP, EAT, FILL = "naps.nap", "naps.eat", "naps.fill"
MIB: Final = 1024 * 1024


@task(NAP, timeout=600)
async def nap(ms: int) -> int:
    """Sleep, and return for how long."""
    await asyncio.sleep(ms / 1000)
    return ms


@task(EAT, timeout=600)
async def eat(mib: int) -> int:
    """Take memory, in the worker itself."""
    return len(bytearray(b"x") * (mib * MIB)) // MIB


@task(FILL, timeout=600)
async def fill(mib: int, ctx: TaskContext) -> int:
    """Fill the worker's /tmp at the first claim and wait for what comes of it; later do nothing."""
    if ctx.claim_no == 1:
        await asyncio.to_thread(Path("/tmp/filled").write_bytes, b"x" * (mib * MIB))  # noqa: S108 - 容器自己的
        await asyncio.sleep(300)
    return ctx.claim_no


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="naps", version="1.0", requires_api=">=1.0,<2", title_en="Naps", title_zh="小睡",
        summary_en="Sleeps, eats and fills for a test.", summary_zh="为测试而睡、吃、填。",
    )  # fmt: skip


@hookimpl
def taskmill_register(registry: Registry) -> None:
    """Add the tasks."""
    registry.add(nap, eat, fill)
