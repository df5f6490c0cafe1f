"""Fixtures with real servers, for `pytest -p taskmill.testing`. All names begin with `taskmill`.

    taskmill_postgres, taskmill_valkey            the servers of the session; override them to bring your own
            │
    taskmill_database_url, taskmill_broker_url    one migrated database, one logical database of Valkey, for the session
            │
    taskmill_clean                                both are emptied after the test
            │
    taskmill, taskmill_sync                       the door, open
    taskmill_worker, taskmill_kinds               a worker for named kinds and plugins; kinds that nobody runs
    taskmill_context                              the context of a first attempt, for unit tests of handlers; no server

The async ones are run by anyio, which Taskmill brings: mark the test with `pytest.mark.anyio`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest

# 别的都在夹具里才导入：`-p` 早于覆盖率与警告的设置
if TYPE_CHECKING:
    from taskmill import Taskmill
    from taskmill.sync import Taskmill as SyncTaskmill
    from taskmill.testing.context import CapturedContext
    from taskmill.testing.servers import HasUrl
    from taskmill.testing.worker import RunningWorker

LOGICAL_DATABASES = 16  # Valkey 的默认值：pytest-xdist 的各个进程各用一个
# ruff: noqa: PLC0415


@pytest.fixture(scope="session")
def taskmill_log_language() -> None:
    """The log lines that pytest shows with a test are in the language that `TASKMILL_LOG_LANG` says."""
    from taskmill.settings import load_settings
    from taskmill.testing import logs

    logs.tell(load_settings().log_lang)


@pytest.fixture(scope="session")
def taskmill_server_root(taskmill_log_language: None) -> Iterator[Path]:  # noqa: ARG001 - 服务器启动时就写日志
    """A folder for the data of embedded servers. Not pytest's own: that is closed to the user that runs PostgreSQL."""
    root = Path(tempfile.mkdtemp(prefix="taskmill-test-"))
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def taskmill_postgres(taskmill_server_root: Path) -> Iterator[HasUrl]:
    """The PostgreSQL of the session: `TASKMILL_TEST_DATABASE_URL`, or an embedded one."""
    from taskmill.testing import servers

    with servers.postgres(taskmill_server_root / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def taskmill_valkey(taskmill_server_root: Path) -> Iterator[HasUrl]:
    """The Valkey of the session: `TASKMILL_TEST_BROKER_URL`, or an embedded one."""
    from taskmill.testing import servers

    with servers.valkey(taskmill_server_root / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def taskmill_database_url(
    taskmill_log_language: None,  # noqa: ARG001 - 自带服务器的人也要迁移
    taskmill_postgres: HasUrl,
) -> Iterator[str]:
    """The URL of a migrated database of this session, `postgresql://…`; dropped at its end."""
    from taskmill.testing import databases

    with databases.temporary_database(taskmill_postgres.url, prefix="taskmill_test") as url:
        databases.in_thread(databases.migrate(url))
        yield url


@pytest.fixture(scope="session")
def taskmill_broker_url(taskmill_valkey: HasUrl) -> str:
    """The URL of Valkey; each process of pytest-xdist has a logical database of its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if not worker.isdigit():
        return taskmill_valkey.url
    return urlunsplit(urlsplit(taskmill_valkey.url)._replace(path=f"/{int(worker) % LOGICAL_DATABASES}"))


@pytest.fixture
def taskmill_clean(taskmill_database_url: str, taskmill_broker_url: str) -> Iterator[None]:
    """Empties Taskmill's tables and streams after the test; other tables of the database are left alone."""
    from taskmill.testing import databases

    yield
    databases.in_thread(databases.empty(taskmill_database_url, taskmill_broker_url))


@pytest.fixture
async def taskmill(
    taskmill_clean: None,  # noqa: ARG001 - 先开后关：门关了才清空
    taskmill_database_url: str,
    taskmill_broker_url: str,
) -> AsyncIterator[Taskmill]:
    """The door, open: `await taskmill.submit(…)`."""
    from taskmill import Taskmill

    async with Taskmill(database_url=taskmill_database_url, broker_url=taskmill_broker_url) as door:
        yield door


@pytest.fixture
def taskmill_sync(
    taskmill_clean: None,  # noqa: ARG001 - 同上
    taskmill_database_url: str,
    taskmill_broker_url: str,
) -> Iterator[SyncTaskmill]:
    """The door for tests and applications without asyncio, open."""
    from taskmill.sync import Taskmill

    with Taskmill(database_url=taskmill_database_url, broker_url=taskmill_broker_url) as door:
        yield door


@pytest.fixture
def taskmill_worker(
    taskmill_clean: None,  # noqa: ARG001 - 同上
    taskmill_database_url: str,
    taskmill_broker_url: str,
) -> Callable[..., AbstractAsyncContextManager[RunningWorker]]:
    """A worker and a scheduler in the test's loop, for named kinds and plugins.

    `async with taskmill_worker(resize, plugins=["shell"], env={…}) as worker:` It publishes the kinds and runs what is due; `await worker.idle()` waits until nothing is.
    """
    from taskmill.testing.worker import working

    def work(*tasks: Any, plugins: Any = (), env: Any = None, **options: Any) -> AbstractAsyncContextManager[RunningWorker]:
        urls = {"database_url": taskmill_database_url, "broker_url": taskmill_broker_url}
        return working(tasks, plugins, env, **urls, **options)

    return work


@pytest.fixture
def taskmill_kinds(
    taskmill_clean: None,  # noqa: ARG001 - 同上
    taskmill_database_url: str,
) -> Callable[..., Awaitable[None]]:
    """What publishes kinds, so that they can be submitted though nobody runs them.

    `await taskmill_kinds(resize, plugins=["shell"])`.
    """
    from taskmill.testing.worker import publish_kinds

    async def publish(*tasks: Any, plugins: Any = (), env: Any = None) -> None:
        await publish_kinds(taskmill_database_url, tasks, plugins, env or {})

    return publish


@pytest.fixture
def taskmill_context() -> CapturedContext:
    """The context of the first attempt of some task; `taskmill.testing.make_context` makes others."""
    from taskmill.testing.context import make_context

    return make_context()
