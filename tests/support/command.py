"""The command line in tests: a real process with the settings of the test and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.children import tied

TASKMILL = Path(sys.executable).with_name("taskmill")
TIMEOUT_S = 120.0


class Command:
    """`taskmill` in a folder of its own, with the servers of the test."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("TASKMILL_", "LC_", "LANG"))}
        self.environment = {**kept, "LANG": "en_US.UTF-8", **{f"TASKMILL_{name}": text for name, text in settings.items()}}

    def run(self, *arguments: str, text: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run to the end; `text` is standard input, `settings` are more variables."""
        return subprocess.run(
            tied(TASKMILL, *arguments), cwd=self.folder, env={**self.environment, **settings}, input=text,
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip

    def ok(self, *arguments: str, text: str = "", **settings: str) -> str:
        """Run, insist on exit code 0 and return standard output."""
        done = self.run(*arguments, text=text, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start a role; it is killed at the end if it still runs."""
        with (self.folder / f"{arguments[0]}.log").open("w") as log:
            process = subprocess.Popen(
                tied(TASKMILL, *arguments), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def told(self, role: str) -> str:
        """Return what a role has printed so far."""
        return (self.folder / f"{role}.log").read_text()
