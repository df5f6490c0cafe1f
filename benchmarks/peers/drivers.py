# ruff: noqa: INP001  单个脚本，不是包
"""Finds the drivers of the peers, builds what they need below `.cache/peers/`, and asks them (the contract: `contract.py`).

A driver is a file `NAME_peer.py` that names its packages at its head (PEP 723), or a folder NAME with a Go module.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.children import tied

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "peers"
OWN = "taskmill"  # 它的驱动程序在项目自己的环境里跑
SCRIPT = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)
LIMIT_S = 900.0


class PeerError(Exception):
    """A peer could not be built, failed, or did not do all of its work."""


@dataclass(frozen=True)
class Driver:
    """One peer: its name and the command that answers the contract."""

    name: str
    command: tuple[str, ...]

    def about(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return self._ask({}, "about")

    def measure(self, name: str, n: int, concurrency: int, *, folder: Path, database_url: str, broker_url: str) -> float:
        """Run one measure and return its seconds. Raises PeerError when it did not do all of it."""
        tally = folder / "tally"
        tally.write_bytes(bytes(n))
        (folder / "tally.ready").unlink(missing_ok=True)
        where = {"PEER_DATABASE_URL": database_url, "PEER_BROKER_URL": broker_url, "PEER_TALLY": str(tally)}
        said = self._ask(where, name, str(n), str(concurrency))
        ran, held = tally.read_bytes().count(1), said["held"]
        wanted = (n, 0) if name == "drain" else (0, n)
        if (ran, held) != wanted or said["n"] != n:
            raise PeerError(f"{self.name} {name}: {ran} ran and {held} are held, {wanted[0]} and {wanted[1]} expected")
        return said["seconds"]

    def _ask(self, environment: dict[str, str], *words: str) -> dict[str, Any]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("TASKMILL_", "PYTHON"))}
        process = subprocess.Popen(
            tied(*self.command, *words, death=signal.SIGTERM), cwd=HERE, env=kept | environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            told, complaints = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise PeerError(f"{self.name} {' '.join(words)}: nothing within {LIMIT_S:.0f} s") from None
        finally:
            _end(process)
        if process.returncode:
            raise PeerError(f"{self.name} {' '.join(words)} ended with {process.returncode}: {complaints[-2_000:]}")
        return json.loads(told.splitlines()[-1])


def _end(process: subprocess.Popen[str]) -> None:
    """驱动程序的工作进程与它同组：它倒下或超时，谁都不留下。"""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def names() -> list[str]:
    """Return the peers, Taskmill first."""
    scripts = [path.name.removesuffix("_peer.py") for path in HERE.glob("*_peer.py")]
    modules = [path.parent.name for path in HERE.glob("*/main.go")]
    return sorted([*scripts, *modules], key=lambda name: (name != OWN, name))


def built(name: str) -> Driver:
    """Return the driver of a peer, built if it is not yet. Raises PeerError."""
    if (HERE / name / "main.go").exists():
        return Driver(name, (str(_go(name)),))
    script = HERE / f"{name}_peer.py"
    python = Path(sys.executable) if name == OWN else _environment(name, requirements(script.read_text(encoding="utf-8")))
    return Driver(name, (str(python), str(script)))


def requirements(script: str) -> list[str]:
    """Return the packages that a driver names at its head."""
    found = SCRIPT.search(script)
    if found is None:
        raise PeerError("the driver does not name its packages: # /// script")
    return tomllib.loads(re.sub(r"^# ?", "", found[1], flags=re.MULTILINE))["dependencies"]


def _go(name: str) -> Path:
    if shutil.which("go") is None:
        raise PeerError(f"{name} needs Go")
    target = CACHE / name / "driver"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    command = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", str(target), "."]
    _run(command, cwd=HERE / name, env=environment)  # Go 自己知道有没有改动
    return target


def _environment(name: str, packages: list[str]) -> Path:
    folder = CACHE / name
    python, stamp = folder / "bin" / "python", folder / "packages.txt"
    wanted = "\n".join([sys.version, *packages])
    if not python.exists() or not stamp.exists() or stamp.read_text() != wanted:
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *packages])
        stamp.write_text(wanted)
    return python


def _run(command: list[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise PeerError(f"{' '.join(command)}: {done.stderr[-2_000:]}")
