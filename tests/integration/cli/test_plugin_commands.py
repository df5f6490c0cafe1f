"""Commands of plugins: they have the servers of a running dev, and what goes wrong is told as other errors are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.command import Command

PLUGIN = """
import click
from taskmill import hookimpl
from taskmill.plugin import Manifest

@hookimpl
def taskmill_manifest():
    return Manifest(name="jot", version="1", requires_api=">=1.0,<2", title_en="a", title_zh="a", summary_en="a", summary_zh="a")

@hookimpl
def taskmill_register(registry):
    global url
    url = registry.database_url

@click.command()
def count():
    click.echo(url.reveal())

@click.command()
@click.pass_context
def leave(ctx):
    ctx.exit(7)

@hookimpl
def taskmill_cli(group):
    group.add_command(count)
    group.add_command(leave)
"""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "jot.py").write_text(PLUGIN, encoding="utf-8")
    made = Command(tmp_path, PLUGIN_MODULES="jot,missing_one", PLUGINS_ALLOW="jot,missing_one")
    made.environment["PYTHONPATH"] = str(tmp_path)
    return made


def test_a_command_has_the_database_of_a_running_dev(command: Command) -> None:
    folder = command.folder / ".taskmill"
    folder.mkdir()
    facts = {
        "api_url": "http://h",
        "token": "t",
        "pid": os.getpid(),
        "database_url": "postgresql://u:pw@h/d",
        "broker_url": "redis://h",
    }
    (folder / "run.json").write_text(json.dumps(facts))
    done = command.run("jot", "count")
    assert (done.returncode, done.stdout, done.stderr) == (0, "postgresql://u:pw@h/d\n", "")


def test_what_a_command_raises_is_one_line_with_the_place(command: Command) -> None:
    done = command.run("jot", "count")
    assert done.returncode == 1
    words = f"PLUGIN_COMMAND_FAILED the command of plugin jot failed: AttributeError: 'NoneType' object has no attribute 'reveal' ({command.folder}/jot.py:17)"
    assert done.stderr.splitlines() == [words]
    assert command.run("jot", "leave").returncode == 7
    assert command.run("jot", "nothing").stderr.startswith("USAGE ")


def test_a_command_of_a_plugin_that_failed_says_why_and_others_say_nothing_of_it(command: Command) -> None:
    done = command.run("missing_one", "count")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "USAGE wrong usage: no command missing_one: plugin missing_one failed to load: there is no module missing_one"
    )
    assert "missing_one" not in command.run("zzz").stderr
