"""The example with everything, and the pieces of it that the guide shows."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from taskmill.api.app import create_app
from taskmill.plugin import Manifest
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginState
from taskmill.services.platform import Platform
from taskmill.services.setup import migrate_down, migrate_up
from tests.support import api
from tests.support.command import Command
from tests.support.dashboard import visitor
from tests.support.engines import decoded, final, staged, worker_on

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "notes-plugin"
GUIDE = (ROOT / "docs" / "guides" / "plugin-author.md").read_text(encoding="utf-8")


@pytest.mark.anyio
async def test_the_notes_plugin_has_config_table_task_route_and_health(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    settings = api.settings(database_url, broker_url, plugins_allow=["notes"])
    host = PluginHost.load(settings, {"notes": import_module("notes")}, env={"TASKMILL_PLUGIN_NOTES_SIGNATURE": "Grace"})
    assert {info.name: info.state for info in host.plugins()}["notes"] is PluginState.LOADED
    await migrate_up(database_url, plugins=host.migrations())
    platform = await Platform.open(settings, host)
    try:
        async with staged(platform), worker_on(platform), api.api(platform) as client:
            answer = await client.post("/plugins/notes/", json={"text": "hello"})
            assert answer.status_code == 201, answer.text
            row = await final(platform, answer.json()["id"])
            me = await visitor(platform, create_app(platform))
            assert "hello (Grace)" in (await me.get("plugin/notes/newest")).text
            assert "by the plugin notes" in (await me.get(f"tasks/{answer.json()['id']}")).text
            await me.client.aclose()
        assert decoded(row["result"]) == "hello (Grace)"
        assert row["tags"] == ["note"]
        assert row["created_by"]
        assert (await host.health())["notes"].detail == "1 notes"
    finally:
        await platform.close()
    await migrate_down(database_url, "base", plugin="notes", plugins=host.migrations())


def test_the_guide_shows_the_example_as_it_is() -> None:
    source = (EXAMPLE / "notes.py").read_text(encoding="utf-8")
    migration = (EXAMPLE / "notes_versions" / "0001_notes.py").read_text(encoding="utf-8")
    shown = re.findall(r"^<!-- notes -->\n```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) >= 6
    for block in shown:
        assert block in source or block == migration, block  # 迁移整个文件都在，照抄就能用


def test_the_guide_s_distribution_can_be_built_and_found() -> None:
    project = tomllib.loads(re.findall(r"^```toml\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)[0])
    layout = re.findall(r"^```\n(taskmill-.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)[0]
    model = tomllib.loads((ROOT / "plugins" / "taskmill-shell" / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"] == model["build-system"]
    package, module = project["project"]["entry-points"]["taskmill.plugins"]["hello"].split(".")
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{package}"]
    assert [
        name for name in (project["project"]["name"], package, f"{module}.py", "pyproject.toml") if name not in layout
    ] == []


def test_the_guide_names_every_field_of_the_manifest() -> None:
    part = GUIDE.split("### The manifest")[1].split("## Tasks")[0]
    assert [field for field in Manifest.__struct_fields__ if not re.search(rf"\b{field}\b", part)] == []


def test_the_command_of_a_plugin_counts(tmp_path: Path, database_url: str) -> None:
    command = Command(tmp_path, DATABASE_URL=database_url, PLUGIN_MODULES="notes", PLUGINS_ALLOW="notes")
    command.environment["PYTHONPATH"] = str(EXAMPLE)
    command.ok("migrate", "up")
    assert command.ok("notes", "count").strip() == "0"
