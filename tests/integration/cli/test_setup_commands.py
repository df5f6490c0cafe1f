"""Commands that work on the servers directly: migrate, key, doctor, and the roles' refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskmill.services.doctor import fleet as doctor_fleet
from tests.support.command import Command


@pytest.fixture
def command(tmp_path: Path, database_url: str, broker_url: str) -> Command:
    """The command line on a migrated database."""
    return Command(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url)


@pytest.fixture
def fresh(tmp_path: Path, empty_database_url: str, broker_url: str) -> Command:
    """The command line on a database that was never migrated."""
    return Command(tmp_path, DATABASE_URL=empty_database_url, BROKER_URL=broker_url)


def test_migrate_up_and_down_and_back(fresh: Command) -> None:
    before = fresh.run("migrate", "status", "-o", "json")
    assert before.returncode == 1
    assert json.loads(before.stdout)[0]["state"] == "behind"
    fresh.ok("migrate", "up")
    after = json.loads(fresh.ok("migrate", "status", "-o", "json"))
    assert {chain["state"] for chain in after} == {"ok"}
    assert fresh.run("migrate", "down", "base").returncode == 130  # 没有人回答 y
    fresh.ok("migrate", "down", "base", "--yes")
    assert fresh.run("migrate", "status").returncode == 1
    fresh.ok("migrate", "up")
    assert fresh.run("migrate", "down", "base", "--plugin", "nobody", "--yes").returncode == 3


def test_migrate_sql_needs_no_server(tmp_path: Path) -> None:
    assert "create table" in Command(tmp_path).ok("migrate", "sql").lower()


@pytest.mark.parametrize("role", ["api", "worker", "scheduler"])
def test_a_role_refuses_a_schema_that_is_behind(fresh: Command, role: str) -> None:
    done = fresh.run(role)
    assert done.returncode == 1
    assert "SCHEMA_BEHIND" in done.stderr
    assert "taskmill migrate up" in done.stderr


@pytest.mark.parametrize("arguments", [("api",), ("worker",), ("scheduler",), ("migrate", "up"), ("key", "list")])
def test_without_settings_the_variable_is_named(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = Command(tmp_path).run(*arguments)
    assert done.returncode == 2
    assert "TASKMILL_DATABASE_URL" in done.stderr


@pytest.mark.parametrize("arguments", [("api",), ("migrate", "up"), ("key", "list")])
def test_a_database_that_is_away_is_five(tmp_path: Path, broker_url: str, arguments: tuple[str, ...]) -> None:
    away = Command(
        tmp_path, DATABASE_URL="postgresql://u:secret@127.0.0.1:1/x", BROKER_URL=broker_url, DATABASE_WAIT_S="0.3"
    )
    done = away.run(*arguments)
    assert done.returncode == 5, done.stderr
    assert "DATABASE_UNAVAILABLE" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_are_made_listed_and_revoked(command: Command) -> None:
    secret = command.ok("key", "create", "ci", "--scope", "read", "--expires-in", "1h").strip()
    assert secret.startswith("tmk_")
    listed = json.loads(command.ok("key", "list", "-o", "json"))
    assert [(key["name"], key["scopes"]) for key in listed] == [("ci", ["read"])]
    assert secret not in json.dumps(listed)
    command.ok("key", "revoke", "ci")
    assert json.loads(command.ok("key", "list", "-o", "json"))[0]["revoked_at"] is not None
    assert command.run("key", "revoke", "nobody").returncode == 3


def test_doctor_finds_what_is_wrong_and_what_is_right(command: Command) -> None:
    command.ok("migrate", "up")  # 建分区
    report = command.run("doctor", "-o", "json", TASKMILL_API_PORT="0")
    found = {finding["name"]: finding for finding in json.loads(report.stdout)}
    for name in ("postgresql", "valkey", "clock of postgresql", "clock of valkey", "migrations", "partitions"):
        assert found[name]["ok"] is True, found[name]
    assert found["workers"]["fix"] == "taskmill worker"
    assert (found["schedulers"]["ok"], found["schedulers"]["fix"]) == (None, "taskmill scheduler")  # 还没有谁等着它
    assert found["schedulers"]["message"] == {"zh": doctor_fleet.NO_SCHEDULER.zh, "en": doctor_fleet.NO_SCHEDULER.en}
    assert found["schedulers"]["hint"] == dict.fromkeys(("zh", "en"), "taskmill scheduler")
    assert found["postgresql"]["hint"] is None
    for finding in found.values():  # 从前的两栏再留一个版本
        assert finding["detail"] == finding["message"]["en"]
        assert finding["fix"] == (finding["hint"] or {"en": ""})["en"]
    assert [name for name, finding in found.items() if finding["ok"] is False] == []
    assert report.returncode == 0


def test_doctor_says_the_fix(fresh: Command) -> None:
    done = fresh.run("doctor", TASKMILL_BROKER_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("✗ migrations") for line in lines)
    assert any(line.startswith("✗ valkey") for line in lines)
    assert any("→ taskmill migrate up" in line for line in lines)
    assert "\x1b" not in done.stdout
