"""One role in a process of its own, to be killed: `python -m tests.chaos.process worker|scheduler|submitter`.

Settings come from `TASKMILL_*`. The submitter prints the id of each task whose submit was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from taskmill.engine.periodic.scheduler import run_scheduler
from taskmill.engine.worker import WorkerRole
from taskmill.errors import TaskmillError
from taskmill.log import configure_logging
from taskmill.plugin.definition import RetryPolicy, task
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import load_settings
from tests.support.engines import registry_of

SUBMITTERS = 20
KIND = "chaos.work"
POISON = "chaos.poison"


@task(KIND, timeout=30, retry=RetryPolicy(max_attempts=3, base_delay=0.01))
async def work(n: int = 0, ms: int = 0) -> int:
    """Take `ms` milliseconds and return `n`."""
    await asyncio.sleep(ms / 1000)
    return n


@task(POISON, timeout=30)
async def poison() -> None:
    """Take the whole worker down."""
    os._exit(1)


async def opened() -> Platform:
    """Open the platform of this process."""
    return await Platform.open(load_settings(), PluginHost(registry=registry_of(work, poison)))


async def _submit_for_ever(platform: Platform) -> None:
    async def one() -> None:
        while True:
            try:
                done = await platform.submit.submit(SubmitRequest(kind=KIND))
            except TaskmillError:
                await asyncio.sleep(0.01)
            else:
                sys.stdout.write(f"{done.id}\n")
                sys.stdout.flush()

    await asyncio.gather(*(one() for _ in range(SUBMITTERS)))


async def _main(role: str) -> None:
    configure_logging(level="WARNING")
    platform, stop, now = await opened(), asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (now if stop.is_set() else stop).set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)
    if role == "worker":
        await WorkerRole(platform).run(stop, now)
    elif role == "scheduler":
        await run_scheduler(platform, stop)
    else:
        await _submit_for_ever(platform)
    await platform.close()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
