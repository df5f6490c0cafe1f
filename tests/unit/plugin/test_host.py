"""The host keeps going whatever one plugin does, and says what became of each."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest
from taskiq import TaskiqMiddleware

from taskmill.clock import FakeClock
from taskmill.engine.troubles import Watchful
from taskmill.errors import Code, PluginError
from taskmill.plugin import constants as c
from taskmill.plugin import task
from taskmill.plugin.config import Secret
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo, PluginState
from taskmill.settings import load_settings
from tests.unit.plugin.plugins import FINE, manifest, plugin, serving, with_health

NONE_INSTALLED = ["http", "email", "shell"]


def load(extra: dict[str, object], *, env: dict[str, str] | None = None, **options: Any) -> PluginHost:
    settings = load_settings(
        plugins_deny=[*NONE_INSTALLED, *options.pop("deny", [])],
        plugins_allow=options.pop("allow", []),
        plugin_modules=options.pop("modules", []),
    )
    return PluginHost.load(settings, extra, env=env or {}, **options)


def info(host: PluginHost, name: str) -> PluginInfo:
    return next(item for item in host.plugins() if item.name == name)


def test_loaded_plugin_tells_everything() -> None:
    host = load({"calc": serving("calc", "calc.double", capabilities=frozenset({"network"}))})
    found = info(host, "calc")
    assert (found.state, found.error, found.version) == (PluginState.LOADED, None, "1.2.3")
    assert (found.kinds, found.capabilities, found.title_zh) == (["calc.double"], ["network"], "测试")
    assert host.registry.owners == {"calc.double": "calc"}
    assert host.registry.versions == {"calc": "1.2.3"}


def _fails(error: BaseException) -> SimpleNamespace:
    def taskmill_register(registry: Any) -> None:
        registry.add(serving_task())
        registry.executor("half", object)
        raise error

    return plugin("bad", taskmill_register)


def serving_task() -> Any:
    @task("bad.half")
    async def half() -> None: ...

    return half


def _unknown_argument() -> SimpleNamespace:
    def taskmill_register(registry: Any, weather: Any) -> None: ...

    return plugin("bad", taskmill_register)


def _missing_migrations() -> SimpleNamespace:
    def taskmill_migrations() -> Path:
        return Path("/nowhere/versions")

    return plugin("bad", taskmill_migrations)


REVISION = "revision, down_revision = {revision!r}, {down!r}\n{more}\ndef upgrade() -> None: ...\n"


def _with_migrations(*versions: str) -> Callable[[Path], object]:
    def made(folder: Path) -> object:
        for number, text in enumerate(versions):
            (folder / f"{number}.py").write_text(text)

        def taskmill_migrations() -> Path:
            return folder

        return plugin("bad", taskmill_migrations)

    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (_with_migrations("revision = (\n"), "SyntaxError"),
        (_with_migrations(REVISION.format(revision="a", down=None, more="phase = 'contrakt'")), "contrakt"),
        (_with_migrations(REVISION.format(revision="b", down="a", more="")), "'a'"),
        (_with_migrations(*(REVISION.format(revision=name, down=None, more="") for name in "ab")), "head"),
    ],
    ids=["syntax", "phase", "a gap", "two heads"],
)
@pytest.mark.filterwarnings("ignore:Revision .* referenced from")
def test_migrations_that_nobody_can_read_fail_the_plugin_and_not_the_role(
    tmp_path: Path, made: Callable[[Path], object], words: str
) -> None:
    found = info(load({"bad": made(tmp_path)}), "bad")
    assert found.state is PluginState.FAILED
    assert found.error is not None
    assert words in found.error.en
    assert words in found.error.zh


def _bad_args_of_a_foreign_kind() -> SimpleNamespace:
    def taskmill_register(registry: Any) -> None:
        registry.schedule("nightly", "elsewhere.kind", every="1h", args={"when": object()})

    return plugin("bad", taskmill_register)


def _no_middleware() -> SimpleNamespace:
    def taskmill_middlewares() -> list[object]:
        return [object()]

    return plugin("bad", taskmill_middlewares)


def _plain_manifest() -> SimpleNamespace:
    return SimpleNamespace(taskmill_manifest=lambda: {"name": "bad"})


@pytest.mark.parametrize(
    ("broken", "state", "words"),
    [
        (SimpleNamespace(), PluginState.FAILED, "no taskmill_manifest"),
        (_plain_manifest(), PluginState.FAILED, "did not return a Manifest"),
        (plugin("other"), PluginState.FAILED, "names it other"),
        (plugin("bad", requires_api=">=2"), PluginState.INCOMPATIBLE, "requires API >=2, this is 1.1"),
        (plugin("bad", requires_api="yes please"), PluginState.FAILED, "yes please"),
        (_fails(ValueError("boom")), PluginState.FAILED, "ValueError: boom"),
        (_fails(SystemExit(3)), PluginState.FAILED, "SystemExit: 3"),
        (_unknown_argument(), PluginState.FAILED, "weather"),
        (_missing_migrations(), PluginState.FAILED, "/nowhere/versions"),
        (_no_middleware(), PluginState.FAILED, "object is no middleware of taskiq"),
        (_bad_args_of_a_foreign_kind(), PluginState.FAILED, "args"),
    ],
    ids=[
        "no-manifest",
        "plain-manifest",
        "other-name",
        "api",
        "bad-range",
        "raises",
        "exits",
        "argument",
        "migrations",
        "middleware",
        "schedule-args",
    ],
)
def test_broken_plugin_stops_nobody(broken: object, state: PluginState, words: str) -> None:
    host = load({"bad": broken, "calc": serving("calc", "calc.double")})
    found = info(host, "bad")
    assert found.state is state
    assert found.error is not None
    assert words in found.error.en
    assert found.error.zh
    assert list(host.registry.owners) == ["calc.double"]  # 登记到一半的东西一件不留
    assert set(host.registry.executors) == {"async", "thread"}
    assert info(host, "calc").state is PluginState.LOADED


def test_taken_kind_names_both_and_keeps_the_first() -> None:
    host = load({"first": serving("first", "calc.double"), "second": serving("second", "calc.double")})
    problem = info(host, "second").error
    assert problem is not None
    assert problem.code == "KIND_TAKEN"
    assert all(name in problem.en and name in problem.zh for name in ("first", "second", "calc.double"))
    assert host.registry.owners == {"calc.double": "first"}


def test_hanging_plugin_fails_after_its_budget_and_cannot_register_later() -> None:
    released, finished = threading.Event(), threading.Event()

    def taskmill_register(registry: Any) -> None:
        released.wait()
        registry.add(serving_task())
        finished.set()

    host = load({"slow": plugin("slow", taskmill_register), "calc": serving("calc", "calc.double")}, budget_s=0.05)
    released.set()
    assert finished.wait(10)
    assert "not up within" in (info(host, "slow").error or pytest.fail("no error")).en
    assert list(host.registry.owners) == ["calc.double"]


@pytest.mark.parametrize(
    ("options", "up"),
    [({"deny": ["a"]}, ["b"]), ({"allow": ["a"]}, ["a"]), ({}, ["a", "b"])],
)
def test_allow_and_deny(options: dict[str, Any], up: list[str]) -> None:
    host = load({"a": serving("a", "a.run"), "b": serving("b", "b.run")}, **options)
    states = {item.name: item.state for item in host.plugins() if item.name not in NONE_INSTALLED}
    assert states == {n: PluginState.LOADED if n in up else PluginState.DISABLED for n in ("a", "b")}


def test_misspelt_hook_is_an_error_in_ci_only() -> None:
    def taskmill_regster(registry: Any) -> None: ...

    broken = plugin("typo", taskmill_regster)
    assert info(load({"typo": broken}), "typo").state is PluginState.LOADED
    problem = info(load({"typo": broken}, env={"CI": "true"}), "typo").error
    assert problem is not None
    assert "taskmill_regster, did you mean taskmill_register?" in problem.en


class _Config(msgspec.Struct, kw_only=True):
    token: Secret
    limit: int = 3


def test_config_reaches_the_hooks_and_is_shown_masked() -> None:
    seen: list[_Config] = []

    def taskmill_register(registry: Any, config: _Config) -> None:
        seen.append(config)

    env = {"TASKMILL_PLUGIN_CFG_TOKEN": "geheim", "TASKMILL_PLUGIN_CFG_LIMIT": "7"}
    host = load({"cfg": plugin("cfg", taskmill_register, config=_Config)}, env=env)
    assert (seen[0].token.reveal(), seen[0].limit) == ("geheim", 7)
    assert info(host, "cfg").config == {"token": "***", "limit": 7}


def test_bad_config_fails_the_plugin() -> None:
    env = {"TASKMILL_PLUGIN_CFG_TOKEN": "x", "TASKMILL_PLUGIN_CFG_LIMT": "7"}
    problem = info(load({"cfg": plugin("cfg", config=_Config)}, env=env), "cfg").error
    assert problem is not None
    assert (problem.code, "TASKMILL_PLUGIN_CFG_LIMIT" in problem.en) == ("CONFIG_INVALID", True)


def test_module_is_loaded_under_the_name_of_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(taskmill_manifest=lambda: manifest("from-path"))
    monkeypatch.setitem(sys.modules, "somewhere_plugin", module)
    (tmp_path / "broken_import_plugin.py").write_text("raise SystemExit('at import')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    host = load({}, modules=["somewhere_plugin", "broken_import_plugin", "not.there"])
    states = {item.name: item.state for item in host.plugins() if item.name not in NONE_INSTALLED}
    assert states == {
        "from-path": PluginState.LOADED,
        "broken_import_plugin": PluginState.FAILED,
        "there": PluginState.FAILED,
    }
    denied = load({}, modules=["somewhere_plugin"], deny=["from-path"])
    assert info(denied, "from-path").state is PluginState.DISABLED


def test_name_has_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "twin_plugin", SimpleNamespace(taskmill_manifest=lambda: manifest("calc")))
    host = load({"calc": serving("calc", "calc.double")}, modules=["twin_plugin"])
    states = [item.state for item in host.plugins() if item.name == "calc"]
    assert sorted(states) == [PluginState.FAILED, PluginState.LOADED]


def test_setup_hooks_are_collected(tmp_path: Path) -> None:
    middleware = TaskiqMiddleware()

    def taskmill_middlewares(config: Any) -> list[TaskiqMiddleware]:
        return [middleware]

    def taskmill_routes() -> list[str]:
        return ["router"]

    def taskmill_migrations() -> Path:
        return tmp_path

    host = load({"full": plugin("full", taskmill_middlewares, taskmill_routes, taskmill_migrations)})
    assert host.middlewares() == [middleware]
    assert host.routes() == {"full": ["router"]}
    assert host.migrations() == {"full": tmp_path}


def test_commands_get_a_group_of_their_own() -> None:
    def taskmill_cli(group: click.Group) -> None:
        group.add_command(click.Command("greet"))

    def broken(group: click.Group) -> None:
        raise RuntimeError

    broken.__name__ = "taskmill_cli"
    host = load({"bad": plugin("bad", broken), "calc": plugin("calc", taskmill_cli), "task": plugin("task", taskmill_cli)})
    root, own = click.Group("taskmill"), click.Group("task")
    root.add_command(own)
    host.add_cli(root)
    assert sorted(root.commands) == ["calc", "task"]
    assert isinstance(group := root.commands["calc"], click.Group)
    assert list(group.commands) == ["greet"]
    assert root.commands["task"] is own


@pytest.mark.anyio
async def test_health_isolates_and_the_breaker_opens_and_closes() -> None:
    clock, calls, healthy = FakeClock(), list[int](), False

    async def flaky() -> Any:
        calls.append(1)
        if not healthy:
            message = "no route"
            raise OSError(message)
        return FINE

    async def hangs() -> Any:
        await asyncio.Event().wait()

    host = load(
        {
            "flaky": with_health("flaky", flaky),
            "hangs": with_health("hangs", hangs),
            "fine": with_health("fine", lambda: FINE),
        },
        clock=clock,
        health_timeout_s=0.05,
    )
    for _ in range(c.PLUGIN_BREAKER_FAILURES + 2):
        answers = await host.health()
    assert answers["fine"] == FINE
    assert not answers["flaky"].ok
    assert not answers["hangs"].ok
    assert len(calls) == c.PLUGIN_BREAKER_FAILURES  # 熔断后不再调用
    assert info(host, "flaky").state is PluginState.DEGRADED
    healthy = True
    clock.advance(c.PLUGIN_BREAKER_OPEN_S)
    assert (await host.health())["flaky"] == FINE
    assert info(host, "flaky").state is PluginState.LOADED


def test_a_plugin_that_is_held_back_serves_nothing_until_it_is_released() -> None:
    host = load({"calc": serving("calc", "calc.double"), "fine": FINE}, allow=["calc"])
    versions = dict(host.registry.versions)
    assert host.hold("calc", PluginError(Code.PLUGIN_FAILED, plugin="calc", reason="no tables"))
    assert not host.hold("calc", PluginError(Code.PLUGIN_FAILED, plugin="calc", reason="still none"))
    assert (host.registry.tasks, host.registry.owners, host.registry.versions) == ({}, {}, {})
    assert host.waiting
    assert "still none" in host.wanting()["calc"]
    assert info(host, "calc").state is PluginState.FAILED
    assert host.release(["other", "calc"]) == ["calc"]
    assert host.release(["calc"]) == []
    assert host.registry.owners == {"calc.double": "calc"}
    assert host.registry.versions == versions
    assert (host.failures(), host.waiting, info(host, "calc").state) == ({}, False, PluginState.LOADED)


def test_only_what_was_asked_for_by_name_is_wanting() -> None:
    def taskmill_register(registry: Any) -> None:
        raise RuntimeError("broken")

    plugins = {"bad": plugin("bad", taskmill_register), "calc": serving("calc", "calc.double")}
    assert set(load(plugins).failures()) == {"bad"}
    assert load(plugins).wanting() == {}
    assert set(load(plugins, allow=["bad", "absent"]).wanting()) == {"bad", "absent"}
    assert set(load({}, modules=["no_such_module"]).wanting()) == {"no_such_module"}


@pytest.mark.parametrize("rival", [False, True], ids=["free", "taken"])
def test_a_plugin_that_passes_its_budget_is_a_failure_only_until_it_is_up(rival: bool) -> None:
    begun, go = threading.Event(), threading.Event()
    quick = serving("quick", "slow.kind" if rival else "quick.kind")

    def taskmill_register(registry: Any) -> None:
        begun.set()
        assert go.wait(10)
        registry.add(late)

    @task("slow.kind")
    async def late() -> None: ...

    host = load({"slow": plugin("slow", taskmill_register), "quick": quick}, budget_s=0.05, allow=["slow", "quick"])
    watchful = Watchful(host.failures)
    assert begun.wait(10)
    assert host.arrive() == []
    assert set(watchful.told().plugins) == set(host.wanting()) == {"slow"}
    go.set()
    deadline = time.monotonic() + 10
    while not (came := host.arrive()) and host.waiting and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not host.waiting
    if rival:
        assert came == []
        assert "quick" in host.wanting()["slow"]
        assert host.registry.owners == {"slow.kind": "quick"}
    else:
        assert came == ["slow"]
        assert (host.failures(), watchful.told().plugins) == ({}, {})
        assert host.registry.owners == {"slow.kind": "slow", "quick.kind": "quick"}


def test_a_plugin_whose_middleware_does_not_start_is_a_failure() -> None:
    middleware = TaskiqMiddleware()

    def taskmill_middlewares() -> list[object]:
        return [middleware]

    host = load({"mid": plugin("mid", taskmill_middlewares)}, allow=["mid"])
    host.fail_middleware(middleware, RuntimeError("no socket"))
    assert "no socket" in host.wanting()["mid"]
