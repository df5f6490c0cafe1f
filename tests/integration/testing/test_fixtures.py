"""The fixtures of `pytest -p taskmill.testing`, as an author's tests use them: in a pytest of their own."""

from __future__ import annotations

import re

import pytest

pytest_plugins = ["pytester"]
CHINESE = re.compile(r"^\S+ \S+ \[\w+ *\] .*[\u4e00-\u9fff].*$", flags=re.MULTILINE)  # 一行日志；堆栈里的源码不算

CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
TESTS = '''
import pytest
from taskmill import RetryPolicy, TaskContext, task
from taskmill.states import State

pytestmark = pytest.mark.anyio


@task("shop.mail", retry=RetryPolicy(base_delay=0))
async def mail(to: str, ctx: TaskContext) -> str:
    """Send a letter."""
    if ctx.attempt == 1:
        raise OSError("the server hung up")
    return f"sent to {to}"


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_submit_is_run(taskmill, taskmill_worker, turn):
    async with taskmill_worker(mail):
        order = await taskmill.submit(mail.request(to="ada"), unique_key="the same in both turns")
        assert not order.duplicate
        assert await order.result(timeout=30) == "sent to ada"


async def test_nothing_runs_without_a_worker(taskmill, taskmill_kinds):
    await taskmill_kinds(mail)
    order = await taskmill.submit("shop.mail", {"to": "ada"})
    assert await order.status() is State.AVAILABLE


async def test_a_worker_is_idle_when_all_is_done(taskmill, taskmill_worker):
    async with taskmill_worker(mail) as worker:
        orders = [await taskmill.submit(mail.request(to=str(n))) for n in range(20)]
        await worker.idle()
        assert {await order.status() for order in orders} == {State.COMPLETED}


async def test_what_is_blocked_is_waited_for_only_if_it_will_be_let_go(taskmill, taskmill_worker):
    async with taskmill_worker(mail) as worker:
        first = await taskmill.submit(mail.request(to="1"), sequence_key="k", delay_s=3600)
        held = await taskmill.submit(mail.request(to="2"), sequence_key="k")
        parent = await taskmill.submit(mail.request(to="3"))
        child = await taskmill.submit(mail.request(to="4"), depends_on=[parent.id])
        await worker.idle()
        found = [await order.status() for order in (first, held, parent, child)]
        assert found == [State.SCHEDULED, State.BLOCKED, State.COMPLETED, State.COMPLETED]


async def test_a_plugin_is_loaded_by_its_name(taskmill, taskmill_worker):
    async with taskmill_worker(plugins=["shell"], env={"TASKMILL_PLUGIN_SHELL_ALLOW": "/bin/echo"}):
        order = await taskmill.submit("shell.run", {"argv": ["/bin/echo", "hello"]})
        assert (await order.result(timeout=30))["stdout"] == "hello\\n"


def test_the_door_for_those_without_asyncio(taskmill_sync, taskmill_database_url):
    assert taskmill_database_url.startswith("postgresql://")


def test_a_context(taskmill_context):
    assert taskmill_context.attempt == 1
'''


@pytest.fixture
def author(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder of an author, with tests."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_shop=TESTS)
    return pytester


def run(author: pytest.Pytester, *options: str) -> pytest.RunResult:
    return author.runpytest_subprocess("-p", "taskmill.testing", "-p", "no:randomly", "-W", "error", *options, timeout=200)


def test_on_given_servers(
    author: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, taskmill_postgres: object, broker_url: str
) -> None:
    monkeypatch.setenv("TASKMILL_TEST_DATABASE_URL", taskmill_postgres.url)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setenv("TASKMILL_TEST_BROKER_URL", broker_url)
    monkeypatch.setenv("TASKMILL_LOG_LANG", "en")
    done = run(author, "-rP")
    done.assert_outcomes(passed=8)
    done.stdout.fnmatch_lines(["*worker starts to claim tasks*"])
    assert CHINESE.findall(done.stdout.str()) == []


@pytest.mark.slow
def test_on_servers_of_its_own_without_a_door(author: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKMILL_TEST_DATABASE_URL", raising=False)
    monkeypatch.delenv("TASKMILL_TEST_BROKER_URL", raising=False)
    monkeypatch.setenv("TASKMILL_LOG_LANG", "en")
    done = run(author, "-rP", "-k", "a_submit_is_run or a_context")
    done.assert_outcomes(passed=3, deselected=5)
    done.stdout.fnmatch_lines(["*embedded server*"])
    assert CHINESE.findall(done.stdout.str()) == []


def test_all_fixtures_say_what_they_give(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_subprocess("-p", "taskmill.testing", "--fixtures", "-q", timeout=100)
    names = [line.split(" ")[0] for line in shown.outlines if line.startswith("taskmill") and "taskmill/testing" in line]
    assert sorted(names) == sorted(
        [
            "taskmill",
            "taskmill_broker_url",
            "taskmill_clean",
            "taskmill_context",
            "taskmill_database_url",
            "taskmill_kinds",
            "taskmill_log_language",
            "taskmill_postgres",
            "taskmill_server_root",
            "taskmill_sync",
            "taskmill_valkey",
            "taskmill_worker",
        ]
    )
    assert (
        "no docstring available"
        not in "\n".join(shown.outlines).partition("taskmill")[2].partition("fixtures defined from")[0]
    )
