"""The reference pages are what the code says."""

from __future__ import annotations

import shutil
from pathlib import Path

from taskmill import keys
from taskmill.api.telemetry import METRICS
from taskmill.cli.reference import FOLDER, render, stale
from taskmill.errors import Code
from taskmill.settings import Settings


def test_the_pages_are_current() -> None:
    assert stale(FOLDER) == [], "make generate"


def test_an_old_page_and_a_stray_one_are_noticed(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "errors.md").write_text("old")
    (tmp_path / "stray.md").write_text("?")
    assert stale(tmp_path) == ["errors.md", "stray.md"]


def test_the_pages_name_everything() -> None:
    pages = render()
    assert all(f"`{code}`" in pages["errors.md"] for code in Code)
    assert all(f"`TASKMILL_{name.upper()}`" in pages["settings.md"] for name in Settings.model_fields)
    assert all(f"`{metric.name}`" in pages["metrics.md"] for metric in METRICS)
    assert keys.tickets("<queue>", "<priority>") in pages["redis-keys.md"]  # pyright: ignore[reportArgumentType]
    assert "`taskmill_register`" in pages["hooks.md"]
    assert "`taskmill task submit`" in pages["cli.md"]
