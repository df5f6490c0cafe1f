"""What every workload needs: servers, a migrated database, a no-op kind, a stager."""

from __future__ import annotations

import asyncio
import os
import platform as machine
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import taskmill
from taskmill import constants as c
from taskmill import hookimpl, task
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.stager import Stager
from taskmill.engine.worker import WorkerRole
from taskmill.plugin import Manifest, Registry
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.setup import migrate_up
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings, load_settings

QUEUE = "bench"
ARGS = {"to": "user@example.com", "n": 1, "subject": "hello world"}


@task("bench.noop", queue=QUEUE)
async def noop(to: str, n: int, subject: str) -> int:  # noqa: ARG001 - 参数要被解码，才像真任务
    """Do nothing, so that the figures show the platform."""
    return 1


class BenchPlugin:
    """The benchmark's kinds, through the door of every plugin."""

    @hookimpl
    def taskmill_manifest(self) -> Manifest:
        """Return who this is."""
        return Manifest(
            name="bench",
            version=taskmill.__version__,
            requires_api=">=1,<2",
            title_en="Benchmark",
            title_zh="基准",
            summary_en="No-op tasks.",
            summary_zh="空任务。",
        )

    @hookimpl
    def taskmill_register(self, registry: Registry) -> None:
        """Register the no-op."""
        registry.add(noop)


def request() -> SubmitRequest:
    """Return one no-op with args of an ordinary size."""
    return SubmitRequest(kind="bench.noop", args=dict(ARGS))


@contextmanager
def servers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give the URLs of PostgreSQL and Valkey: the configured ones, else embedded ones that end with the block."""
    if settings.database_url is not None and settings.broker_url is not None:
        yield settings.require_database_url(), settings.require_broker_url()
        return
    from taskmill.dev.servers import start_postgres, start_valkey  # noqa: PLC0415 - 生产环境没有这个附加包

    folder = Path(tempfile.mkdtemp(prefix="taskmill-bench-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = stack.enter_context(start_postgres(folder / "postgres"))
        valkey = stack.enter_context(start_valkey(folder / "valkey"))
        yield postgres.url, valkey.url


@asynccontextmanager
async def stage(database_url: str, broker_url: str, concurrency: int) -> AsyncIterator[Platform]:
    """Migrate, open a platform with the no-op kind and run a stager beside it."""
    await migrate_up(database_url)
    settings = load_settings(
        database_url=database_url, broker_url=broker_url, concurrency=concurrency, plugins_allow=["bench"]
    )
    platform = await Platform.open(settings, PluginHost.load(settings, {"bench": BenchPlugin()}, env={}))
    stager = Stager(platform.database, platform.tickets)
    looper = Looper(stager)
    try:
        await platform.submit.submit_many([request()])  # 建队列；下一轮建票据流
        await stager.run_once()
        looper.start()
        await asyncio.sleep(c.FLAG_MEMORY_S)  # 提交方还记得「新队列没有票据流」
        yield platform
    finally:
        await looper.stop()
        await platform.close()


def worker(platform: Platform, concurrency: int) -> WorkerRole:
    """Return a worker for the benchmark's queue."""
    return WorkerRole(platform, [QUEUE], concurrency)


async def facts(platform: Platform) -> dict[str, Any]:
    """Return the machine and the versions that belong beside every figure."""
    postgres = await platform.database.pool.fetchval("show server_version")
    fsync = await platform.database.pool.fetchval("show fsync")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{machine.system()} {machine.release()}",
        "python": machine.python_version(),
        "taskmill": taskmill.__version__,
        "postgres": postgres,
        "fsync": fsync,
        "valkey": await platform.tickets.version(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return machine.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), machine.machine())
