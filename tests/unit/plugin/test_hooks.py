"""What a newcomer gets wrong in a plugin is told in words that lead to the line: no raw exception, no list, no lone tick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import taskmill
from taskmill.plugin import origin
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo, PluginState
from taskmill.settings import Settings

HEAD = """from taskmill import hookimpl, task
from taskmill.plugin import Manifest
GIVEN = dict(version="1", requires_api=">=1.0,<2", title_en="a", title_zh="a", summary_en="a", summary_zh="a")
def say(name: str) -> str: ...
"""
GOOD = HEAD + "def taskmill_manifest(): return Manifest(name='shout', **GIVEN)\n"
Write = Callable[[str], PluginInfo]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a plugin of one file and return what the host says of it."""

    def load(text: str, module: str = "shout") -> PluginInfo:
        (tmp_path / "shout.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "shout", raising=False)
        host = PluginHost.load(Settings(plugin_modules=[module], plugins_deny=["http", "email", "shell"]), env={})
        return next(info for info in host.plugins() if info.state is not PluginState.DISABLED)

    return load


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD, "plugin shout is loaded, but it brings nothing"),
        (GOOD + "@hookimpl\ndef taskmill_register(registry): ...", "brings nothing"),
        (GOOD + "def taskmill_register(registry): ...", "taskmill_register lacks @hookimpl"),
        (GOOD + "async def taskmill_health(): ...", "taskmill_health lacks @hookimpl"),
        (GOOD + "@hookimpl\ndef taskmill_registr(registry): ...", "did you mean taskmill_register?"),
    ],
    ids=["no hook", "registers nothing", "no mark", "no mark on another", "misspelt"],
)
def test_a_plugin_of_which_a_part_is_never_used_is_loaded_and_says_so(told: Write, text: str, words: str) -> None:
    info = told(text)
    assert info.state is PluginState.LOADED
    assert info.error is not None
    assert info.error.code == "PLUGIN_INCOMPLETE"
    assert words in info.error.en
    assert info.error.zh != info.error.en


@pytest.mark.parametrize(
    "hook",
    [
        "def taskmill_cli(group): ...",
        "async def taskmill_health(): ...",
        "def taskmill_register(registry): registry.add(task('shout.say')(say))",
        "def taskmill_routes(): return [1]",
    ],
)
def test_a_plugin_with_one_hook_that_does_something_is_whole(told: Write, hook: str) -> None:
    assert told(f"{GOOD}@hookimpl\n{hook}\n").error is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEAD + "def taskmill_manifest():\n    return Manifest(name='shout')\n",
            ["taskmill_manifest failed", "shout.py:6", "a Manifest must have name, version, requires_api, title_en"],
        ),
        (
            GOOD + "@hookimpl\ndef taskmill_register(registry, weather): ...\n",
            ["the hook taskmill_register has no argument weather; it has registry, config"],
        ),
        (GOOD + "@hookimpl\ndef taskmill_register(registry):\n    registry.add(say)\n", ["say (", "shout.py:4)", "put @task("]),
        (GOOD + "@hookimpl\ndef taskmill_register(registry):\n    1 / 0\n", ["ZeroDivisionError: division by zero (", "shout.py:8)"]),
        (GOOD + "@task('shout')\nasync def loud(): ...\n", ["area.verb (", "shout.py:6)"]),
        (GOOD + "import nowhere_at_all\n", ["No module named 'nowhere_at_all' (", "shout.py:6)"]),
    ],
    ids=["manifest", "argument", "no task", "raises", "at import", "its own import"],
)  # fmt: skip
def test_a_plugin_that_fails_names_the_place_on_one_line(told: Write, text: str, words: list[str]) -> None:
    info = told(text)
    assert info.state is PluginState.FAILED
    assert info.error is not None
    assert [word for word in words if word not in info.error.en] == []
    assert "\n" not in info.error.en + info.error.zh


def test_a_module_that_is_not_there_leads_to_the_path(told: Write) -> None:
    info = told(GOOD, "shoot")
    assert info.error is not None
    assert "no module shoot" in info.error.en
    assert "PYTHONPATH" in info.error.en


def test_two_plugins_of_one_name_are_told_apart(told: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    first = told(GOOD)
    twin = ModuleType("twin")
    vars(twin).update(vars(sys.modules["shout"]))
    monkeypatch.setitem(sys.modules, "twin", twin)
    host = PluginHost.load(Settings(plugin_modules=["shout", "twin"], plugins_deny=["http", "email", "shell"]), env={})
    both = {info.name: info for info in host.plugins() if info.state is not PluginState.DISABLED}
    assert first.name in both
    assert both["twin"].error is not None
    assert "names it shout, a name that is taken" in both["twin"].error.en


def test_a_trace_is_one_line_that_begins_in_the_plugin(told: Write) -> None:
    told(GOOD + "def inner(): raise KeyError('x')\ndef outer(): inner()\n")
    plugin: Any = sys.modules["shout"]
    with pytest.raises(KeyError) as caught:
        plugin.outer()
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # 去掉测试自己的一层
    assert [part.rpartition("/")[2] for part in origin.trace(error).split(" → ")] == ["shout.py:7 outer", "shout.py:6 inner"]
    assert origin.story(error).count('File "') == 2
    looped = ValueError("no frames")
    looped.__cause__ = looped
    assert origin.trace(looped) == ""


@pytest.mark.parametrize(
    ("module", "ours"),
    [
        ("taskmill/engine/attempts/outcomes.py", True),
        ("taskmill_http/plugin.py", False),
        ("taskmill-shell/plugin.py", False),
    ],
)
def test_a_distribution_called_like_taskmill_is_a_plugin_all_the_same(module: str, ours: bool) -> None:
    assert origin.calls(str(Path(taskmill.__file__).parent.parent / module)) is ours
