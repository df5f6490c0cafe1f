"""The user that runs PostgreSQL, and the few permissions that are opened for it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from taskmill.dev import account
from taskmill.dev.account import Account

STRANGER = Account(uid=65_000, gid=65_000)


def mode(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_plain_user_runs_servers_as_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert account.server_account(tmp_path) is None


def test_existing_data_stays_with_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    facts = os.stat_result((0o40700, 1, 1, 1, 1234, 4321, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda _self, **_options: facts)
    monkeypatch.setattr(Path, "exists", lambda _self, **_options: True)
    assert account.server_account(tmp_path) == Account(1234, 4321)


def test_without_useradd_the_fallback_user_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "USER", "no_such_user_here")
    monkeypatch.setattr(account.shutil, "which", lambda *_, **__: None)
    chosen = account.server_account(tmp_path / "missing")
    assert chosen is not None
    assert chosen.uid != 0


def test_only_the_search_bit_is_added_to_closed_parents(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    account.open_path(closed / "data" / "file", STRANGER)
    assert mode(closed) == 0o701


@pytest.mark.parametrize("permissions", [0o711, 0o755, 0o701])
def test_open_parents_are_left_alone(tmp_path: Path, permissions: int) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    parent.chmod(permissions)
    account.open_path(parent / "file", STRANGER)
    assert mode(parent) == permissions


def test_a_parent_of_the_account_itself_is_left_alone(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o700)
    facts = parent.stat()
    account.open_path(parent / "file", Account(facts.st_uid, facts.st_gid))
    assert mode(parent) == 0o700


def test_a_closed_package_becomes_readable_and_keeps_its_executables(tmp_path: Path) -> None:
    tree = tmp_path / "package"
    tree.mkdir()
    program, library = tree / "program", tree / "library"
    for path, permissions in ((program, 0o700), (library, 0o600), (tree, 0o700)):
        path.touch() if path != tree else None
        path.chmod(permissions)
    account.open_tree(tree)
    assert (mode(tree), mode(program), mode(library)) == (0o705, 0o705, 0o604)
