"""The plugin of the driver: well-behaved and ill-behaved kinds of tasks, each of which writes the journal.

Loaded by `TASKMILL_PLUGIN_MODULES`; `expect.py` says how each kind must end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

from taskmill import Discard, Snooze, TaskContext, hookimpl, task
from taskmill.plugin import Manifest, Registry, RetryPolicy
from tests.chaos.driver.journal import Recorded, of_this_process

ONCE = RetryPolicy(max_attempts=1)
QUICK = RetryPolicy(max_attempts=3, base_delay=0.2, max_delay=1.0)
TWICE = RetryPolicy(max_attempts=2, base_delay=0.2)
PATIENT = RetryPolicy(max_attempts=100, base_delay=0.5, max_delay=2.0)
MIB = 1024 * 1024
LEAK_S = 120.0  # 比角色离开的时限长得多


class Odd(BaseException):
    """Neither an Exception nor one of Python's own."""


@task("chaos.probe", timeout=60, retry=QUICK)
async def probe(ctx: TaskContext, worker: str = "") -> str:
    """Show that a worker works."""
    with Recorded(ctx):
        return worker


@task("chaos.short", timeout=60, retry=QUICK)
async def short(ctx: TaskContext, ms: int = 10) -> int:
    """Take a few milliseconds."""
    with Recorded(ctx):
        await asyncio.sleep(ms / 1000)
        return ms


@task("chaos.long", timeout=120, retry=QUICK)
async def long(ctx: TaskContext, ms: int = 3000) -> int:
    """Take some seconds."""
    with Recorded(ctx):
        await asyncio.sleep(ms / 1000)
        return ms


@task("chaos.tight", timeout=8, retry=ONCE)
async def tight(ctx: TaskContext, ms: int = 2000) -> int:
    """Take a quarter of its time, and have one attempt only."""
    with Recorded(ctx):
        await asyncio.sleep(ms / 1000)
        return ms


@task("chaos.thread", timeout=60, retry=QUICK)
def thread(ctx: TaskContext, ms: int = 100) -> int:
    """Sleep in a thread."""
    with Recorded(ctx):
        time.sleep(ms / 1000)
        return ms


@task("chaos.block", timeout=60, retry=QUICK)
async def block(ctx: TaskContext, ms: int = 1000) -> int:
    """Block the event loop."""
    with Recorded(ctx):
        time.sleep(ms / 1000)
        return ms


@task("chaos.flaky", timeout=60, retry=QUICK)
async def flaky(ctx: TaskContext) -> int:
    """Fail twice, then succeed."""
    with Recorded(ctx):
        if ctx.attempt < 3:
            message = f"attempt {ctx.attempt}"
            raise ValueError(message)
        return ctx.attempt


@task("chaos.fails", timeout=60, retry=TWICE)
async def fails(ctx: TaskContext) -> None:
    """Fail always."""
    with Recorded(ctx):
        message = "always"
        raise ValueError(message)


@task("chaos.discards", timeout=60, retry=QUICK)
async def discards(ctx: TaskContext) -> None:
    """Give up at once."""
    with Recorded(ctx):
        raise Discard("no use")


@task("chaos.snoozes", timeout=60, retry=QUICK)
async def snoozes(ctx: TaskContext) -> None:
    """Ask for a second once."""
    with Recorded(ctx):
        if ctx.claim_no == 1:
            raise Snooze(after=1.0)


@task("chaos.expires", timeout=60, retry=QUICK)
async def expires(ctx: TaskContext) -> None:
    """Be submitted with a time after which it must not start."""
    with Recorded(ctx):
        await asyncio.sleep(0.05)


@task("chaos.generator_exit", timeout=15, retry=ONCE)
async def generator_exit(ctx: TaskContext) -> None:
    """Raise GeneratorExit."""
    with Recorded(ctx):
        await asyncio.sleep(0.01)
        raise GeneratorExit


@task("chaos.generator_exit_await", timeout=15, retry=ONCE)
async def generator_exit_await(ctx: TaskContext) -> None:
    """Await a thread that raises GeneratorExit."""
    with Recorded(ctx):
        await asyncio.to_thread(_raise, GeneratorExit())


@task("chaos.generator_exit_thread", timeout=15, retry=ONCE)
def generator_exit_thread(ctx: TaskContext) -> None:
    """Raise GeneratorExit in a thread."""
    with Recorded(ctx):
        raise GeneratorExit


@task("chaos.base_exception", timeout=15, retry=ONCE)
async def base_exception(ctx: TaskContext) -> None:
    """Raise something that is no Exception."""
    with Recorded(ctx):
        await asyncio.sleep(0.01)
        raise Odd


@task("chaos.interrupt_thread", timeout=15, retry=ONCE)
def interrupt_thread(ctx: TaskContext) -> None:
    """Raise KeyboardInterrupt in a thread."""
    with Recorded(ctx):
        raise KeyboardInterrupt


@task("chaos.sys_exit", timeout=15, retry=ONCE)
async def sys_exit(ctx: TaskContext) -> None:
    """Call sys.exit."""
    with Recorded(ctx):
        sys.exit(3)


@task("chaos.exit_in_child", timeout=15, retry=ONCE)
async def exit_in_child(ctx: TaskContext) -> None:
    """Call sys.exit in a child task."""
    with Recorded(ctx):

        async def child() -> None:
            await asyncio.sleep(0.01)
            sys.exit(3)

        await asyncio.create_task(child())


@task("chaos.os_exit", timeout=15, retry=ONCE)
async def os_exit(ctx: TaskContext) -> None:
    """Take the whole worker down."""
    with Recorded(ctx):
        os._exit(1)


@task("chaos.swallows", timeout=2, retry=ONCE)
async def swallows(ctx: TaskContext, ms: int = 5000) -> None:
    """Go on after a cancel."""
    with Recorded(ctx):
        until = time.monotonic() + ms / 1000
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                continue


@task("chaos.overruns", timeout=1, retry=ONCE)
def overruns(ctx: TaskContext, ms: int = 4000) -> None:
    """Hold a thread for longer than allowed."""
    with Recorded(ctx):
        time.sleep(ms / 1000)


@task("chaos.spawns", timeout=60, retry=QUICK)
async def spawns(ctx: TaskContext) -> None:
    """Leave a thread and child tasks behind."""
    with Recorded(ctx):
        threading.Thread(target=time.sleep, args=(0.5,), daemon=True).start()
        _left.add(asyncio.create_task(asyncio.sleep(2)))
        _left.difference_update([each for each in _left if each.done()])
        await asyncio.gather(*(asyncio.sleep(0.02) for _ in range(20)))


@task("chaos.leaks", timeout=60, retry=QUICK)
async def leaks(ctx: TaskContext) -> None:
    """Leave a thread behind that is not a daemon: Python's own exit would wait for it."""
    with Recorded(ctx):
        threading.Thread(target=time.sleep, args=(LEAK_S,)).start()


_left: set[asyncio.Task[None]] = set()


@task("chaos.huge_result", timeout=60, retry=QUICK)
async def huge_result(ctx: TaskContext) -> str:
    """Return almost as much as is allowed."""
    with Recorded(ctx):
        return "x" * (MIB - 1024)


@task("chaos.too_huge_result", timeout=60, retry=ONCE)
async def too_huge_result(ctx: TaskContext) -> str:
    """Return more than is allowed."""
    with Recorded(ctx):
        return "x" * (MIB + 1024)


@task("chaos.unencodable", timeout=60, retry=ONCE)
async def unencodable(ctx: TaskContext) -> str:
    """Return what PostgreSQL cannot hold."""
    with Recorded(ctx):
        return "a\x00b\ud800"


@task("chaos.huge_args", timeout=60, retry=QUICK)
async def huge_args(ctx: TaskContext, text: str) -> int:
    """Take almost as much as is allowed."""
    with Recorded(ctx):
        return len(text)


@task("chaos.parent", timeout=60, retry=PATIENT)
async def parent(ctx: TaskContext, count: int = 2) -> int:
    """Submit children; one that was acknowledged must end like any other."""
    with Recorded(ctx):
        for _ in range(count):
            child = await ctx.submit("chaos.short", {"ms": 5})
            of_this_process().write("child", id=str(child), kind="chaos.short", parent=str(ctx.id))
        return count


def _raise(error: BaseException) -> None:
    raise error


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is."""
    return Manifest(
        name="chaos", version="1.0", requires_api=">=1.0,<2", title_en="Chaos", title_zh="混沌",
        summary_en="Kinds that behave badly, for the chaos driver.", summary_zh="行为恶劣的任务，供混沌测试使用。",
    )  # fmt: skip


@hookimpl
def taskmill_register(registry: Registry) -> None:
    """Add all kinds."""
    registry.add(
        probe, short, long, tight, thread, block, flaky, fails, discards, snoozes, expires, generator_exit,
        generator_exit_await, generator_exit_thread, base_exception, interrupt_thread, sys_exit, exit_in_child, os_exit,
        swallows, overruns, spawns, leaks, huge_result, too_huge_result, unencodable, huge_args, parent,
    )  # fmt: skip
