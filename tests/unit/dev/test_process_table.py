"""A process counts as a server only if both its executable and its working directory fit."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskmill.dev import process_table

SLEEP = frozenset({"sleep", "coreutils", "busybox"})


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works in tmp_path."""
    with subprocess.Popen(["/bin/sleep", "60"], cwd=tmp_path) as process:
        assert process_table.wait_until(lambda: process.pid in process_table.server_pids(SLEEP, tmp_path), 30)
        yield process
        process.kill()


def test_a_server_is_found_by_executable_and_directory(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert process_table.server_pids(SLEEP, tmp_path) == [sleeper.pid]


def test_another_directory_or_executable_is_not_ours(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert process_table.server_pids(SLEEP, tmp_path.parent) == []
    assert process_table.server_pids(frozenset({"postgres"}), tmp_path, hint=sleeper.pid) == []


def test_a_zombie_is_not_a_live_server(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    assert process_table.wait_until(lambda: process_table.server_pids(SLEEP, tmp_path) == [], 30)


def test_without_proc_the_noted_pid_is_checked_by_name(
    sleeper: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_table, "PROC", tmp_path / "no-proc")
    assert process_table.server_pids(SLEEP, tmp_path, hint=sleeper.pid) == [sleeper.pid]
    assert process_table.server_pids(SLEEP, tmp_path, hint=os.getpid()) == []
    assert process_table.server_pids(SLEEP, tmp_path) == []


def test_signals_to_the_dead_are_harmless() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
        process_table.send([process.pid], signal.SIGTERM)


def test_waiting_ends_at_the_deadline() -> None:
    assert not process_table.wait_until(lambda: False, 0.02)
