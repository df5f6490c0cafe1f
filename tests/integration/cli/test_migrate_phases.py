"""Phases of migrations, rollbacks to older programs, and what `taskmill migrate up` tells whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from taskmill.cli import constants as cc
from taskmill.dev.dev import _do_without
from taskmill.errors import Code, SetupError
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginState
from taskmill.services.setup import migrate_up
from taskmill.settings import load_settings
from taskmill.stores import constants as sc
from taskmill.stores.schema import migrations, standing
from taskmill.stores.schema.chain import CORE, VERSION_TABLE, Chain, Phase, chain_of
from tests.support.command import Command
from tests.support.databases import execute, in_thread
from tests.unit.plugin.plugins import plugin

FIRST = "create table taskmill.demo_a (id int primary key)"


def write(folder: Path, revision: str, down: str | None, statement: str, phase: str = "") -> None:
    """Write one revision of a plugin's chain."""
    lines = [
        "from alembic import op",
        f"revision = {revision!r}",
        f"down_revision = {down!r}",
        f"phase = {phase!r}" if phase else "",
        f"def upgrade():\n    op.execute({statement!r})",
        "def downgrade():\n    pass",
    ]
    (folder / f"{revision}.py").write_text("\n".join(lines))


def having(name: str, folder: Path) -> object:
    """Return a plugin with migrations."""

    def taskmill_migrations() -> Path:
        return folder

    return plugin(name, taskmill_migrations)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """A chain of four: expand, contract, expand, contract."""
    folder = tmp_path / "versions"
    folder.mkdir()
    write(folder, "d1", None, FIRST)
    write(folder, "d2", "d1", "alter table taskmill.demo_a add column b int", "expand")
    write(folder, "d3", "d2", "alter table taskmill.demo_a drop column b", "contract")
    write(folder, "d4", "d3", "alter table taskmill.demo_a add column c int")
    return Chain("demo", folder, "alembic_version_demo")


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    return database_url


def applied(url: str, chain: Chain, phase: Phase) -> tuple[tuple[str, ...], str | None]:
    done = in_thread(migrations.apply(url, chain, phase=phase))
    return done.revisions, done.after


def test_phases_stop_where_older_programs_would_no_longer_work(url: str, chain: Chain) -> None:
    assert applied(url, chain, Phase.CONTRACT) == ((), None)  # 还没扩展，没有可收缩的
    assert applied(url, chain, Phase.EXPAND) == (("d1", "d2"), "d2")
    assert applied(url, chain, Phase.EXPAND) == ((), "d2")
    at = in_thread(standing.status(url, chain))
    assert (at.pending, at.needed) == (2, 1)
    assert applied(url, chain, Phase.CONTRACT) == (("d3", "d4"), "d4")
    assert applied(url, chain, Phase.ALL) == ((), "d4")


def test_a_wrong_migration_is_undone_and_those_before_it_stay(url: str, chain: Chain) -> None:
    assert chain.versions is not None
    write(chain.versions, "d5", "d4", "alter table taskmill.nowhere add column c int")
    with pytest.raises(SetupError) as caught:
        in_thread(migrations.apply(url, chain))
    error = caught.value
    assert (error.code, error.spec.exit_code) == (Code.MIGRATION_FAILED, 42)
    assert (error.details["revision"], error.details["current"]) == ("d5", "d4")
    told = error.message()["en"]
    assert "nowhere" in told
    assert "\n" not in told
    assert f"plugin demo, {chain.versions / 'd5.py'}:6: " in told


def test_a_plugin_whose_migration_is_wrong_is_named_and_stops_no_other(url: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / f"{name}_versions" for name in ("bad", "good")}
    for name, folder in folders.items():
        folder.mkdir()
        write(folder, f"{name}_1", None, f"create table taskmill.demo_{name} (id int primary key)")
    wrong = folders["bad"] / "bad_1.py"
    wrong.write_text(wrong.read_text().replace("from alembic import op\n", ""))
    with pytest.raises(SetupError) as caught:
        in_thread(migrate_up(url, plugins=folders))
    assert f"plugin bad, {wrong}:5: name 'op' is not defined" in caught.value.message()["en"]
    assert in_thread(standing.status(url, chain_of("good", folders["good"]))).current == "good_1"

    extra = {name: having(name, folder) for name, folder in folders.items()}
    host = PluginHost.load(load_settings(plugins_allow=list(folders)), extra, env={})
    in_thread(migrate_up(url, plugins=host.migrations(), without=partial(_do_without, host)))
    states = {info.name: info for info in host.plugins()}
    assert (states["bad"].state, states["good"].state) == (PluginState.FAILED, PluginState.LOADED)
    assert states["bad"].error is not None
    assert "name 'op' is not defined" in states["bad"].error.en


async def held(url: str, chain: Chain) -> SetupError:
    """Migrate while somebody holds the table; return the error."""
    await migrations.apply(url, chain, phase=Phase.EXPAND)
    holder = await asyncpg.connect(url)
    async with holder.transaction():
        await holder.execute("lock table taskmill.demo_a in access share mode")
        with pytest.raises(SetupError) as caught:
            await migrations.apply(url, chain)
    await holder.close()
    return caught.value


def test_a_table_in_use_is_waited_for_and_told(url: str, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sc, "MIGRATION_STATEMENT_LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(sc, "MIGRATION_LOCK_PAUSE_S", 0.01)
    error = in_thread(held(url, chain))
    assert (error.code, error.spec.exit_code) == (Code.MIGRATION_LOCKED, 44)
    assert in_thread(migrations.apply(url, chain)).after == "d4"  # 让开之后从停下处再来


@pytest.fixture
def command(tmp_path: Path, database_url: str, broker_url: str) -> Command:
    return Command(
        tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url, TERMINATION_MESSAGE=str(tmp_path / "last-words")
    )


def words(command: Command) -> dict[str, object]:
    """Return what the container said last."""
    return json.loads((command.folder / "last-words").read_bytes())


def test_the_result_is_the_termination_message(command: Command, empty_database_url: str) -> None:
    command.ok("migrate", "up", "--phase", "expand", TASKMILL_DATABASE_URL=empty_database_url)
    said = words(command)
    assert (said["from"], said["to"], said["ahead"], said["phase"]) == (None, CORE.head(), False, "expand")
    assert isinstance(said["ms"], int)
    assert said["applied"] == len(CORE.revisions())
    command.ok("migrate", "up", "--phase", "contract")
    assert (words(command)["applied"], words(command)["phase"]) == (0, "contract")
    assert command.run("migrate", "up", "--phase", "expand", "--revision", "0001").returncode == 2


def test_a_newer_database_is_used_if_it_lets_us_in(command: Command, database_url: str) -> None:
    in_thread(execute(database_url, f"update taskmill.{VERSION_TABLE} set version_num = '9999'"))
    command.ok("migrate", "up")
    assert (words(command)["ahead"], words(command)["to"]) == (True, "9999")
    command.ok("migrate", "status")
    command.ok("key", "list")

    in_thread(execute(database_url, "update taskmill.schema_info set min_reader = '9998' where chain = 'taskmill'"))
    refused = command.run("migrate", "up")
    assert refused.returncode == 43
    assert "SCHEMA_AHEAD" in str(words(command)["error"])
    assert words(command)["code"] == "SCHEMA_AHEAD"
    assert command.run("worker").returncode == 43
    assert command.run("migrate", "status").returncode == 1
    command.ok("migrate", "up", "--allow-ahead")
    assert words(command)["ahead"] is True


def test_waiting_behind_another_migration_ends_with_its_own_code(command: Command, database_url: str) -> None:
    async def while_locked() -> int:
        holder = await asyncpg.connect(database_url)
        await holder.execute("select pg_advisory_lock($1)", sc.MIGRATION_LOCK_KEY)
        done = await asyncio.to_thread(command.run, "migrate", "up", "--wait", "0.3")
        await holder.close()
        return done.returncode

    assert in_thread(while_locked()) == 44
    assert words(command)["code"] == "MIGRATION_LOCKED"


def test_long_errors_fit_into_the_message(tmp_path: Path) -> None:
    from taskmill.cli.termination import telling

    path = tmp_path / "words"
    with pytest.raises(ValueError, match="字"), telling(path):
        raise ValueError("字" * 9_000)
    raw = path.read_bytes()
    assert len(raw) <= cc.TERMINATION_MAX_BYTES
    assert json.loads(raw)["code"] == "ValueError"


def test_an_unwritable_message_does_not_fail_the_migration(command: Command) -> None:
    command.ok("migrate", "up", TASKMILL_TERMINATION_MESSAGE="/nowhere/at/all")
