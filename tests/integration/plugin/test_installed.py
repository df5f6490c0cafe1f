"""Plugins that are really installed: found by their entry points, each with its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginState
from taskmill.settings import load_settings

SHIPPED = {"email": "email.send", "http": "http.request", "shell": "shell.run"}


def test_shipped_plugins_load_without_configuration() -> None:
    host = PluginHost.load(load_settings(), env={"CI": "true"})
    found = {item.name: item for item in host.plugins()}
    for name, kind in SHIPPED.items():
        assert (found[name].state, found[name].error) == (PluginState.LOADED, None)
        assert found[name].kinds == [kind]
        assert found[name].distribution == f"taskmill-{name}"
        assert found[name].capabilities
        assert all((found[name].title_en, found[name].title_zh, found[name].summary_en, found[name].summary_zh))


def test_distribution_that_cannot_be_imported_is_listed_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "taskmill_ruin-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taskmill-ruin\nVersion: 0.3\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[taskmill.plugins]\nruin = taskmill_ruin\n", encoding="utf-8")
    (tmp_path / "taskmill_ruin.py").write_text("import a_module_nobody_has\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = {item.name: item for item in PluginHost.load(load_settings(), env={}).plugins()}
    ruin = found["ruin"]
    assert (ruin.state, ruin.distribution, ruin.version) == (PluginState.FAILED, "taskmill-ruin", "0.3")
    assert ruin.error is not None
    assert "a_module_nobody_has" in ruin.error.en
    assert all(found[name].state is PluginState.LOADED for name in SHIPPED)
