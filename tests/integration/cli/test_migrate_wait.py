"""`taskmill migrate wait` ends when the schema fits, says what it waits for, and gives up when told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Command


@pytest.fixture
def fresh(tmp_path: Path, empty_database_url: str) -> Command:
    """The command line on a database that was never migrated."""
    return Command(tmp_path, DATABASE_URL=empty_database_url)


def test_a_schema_that_fits_is_not_waited_for(tmp_path: Path, database_url: str) -> None:
    assert Command(tmp_path, DATABASE_URL=database_url).run("migrate", "wait").returncode == 0


def test_it_gives_up_and_has_said_why(fresh: Command) -> None:
    done = fresh.run("migrate", "wait", "--timeout", "0s")
    assert done.returncode == 124
    assert "waiting: " in done.stderr


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    away = Command(tmp_path, DATABASE_URL="postgresql://u:secret@127.0.0.1:1/x")
    done = away.run("migrate", "wait", "--timeout", "1s")
    assert done.returncode == 124
    assert "waiting: " in done.stderr
    assert "secret" not in done.stderr


def test_it_ends_once_somebody_has_migrated(fresh: Command) -> None:
    with fresh.started("migrate", "wait") as waiting:
        fresh.ok("migrate", "up", "--phase", "expand")
        assert waiting.wait(timeout=60) == 0, fresh.told("migrate")
