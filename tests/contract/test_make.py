"""The Makefile and `.ci/run` fit together, and CI calls nothing but make."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
STEPS = re.findall(r"^step +(\S+) +(.+)$", CI, flags=re.MULTILINE)


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Run make without doing anything."""
    return subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "command"), STEPS, ids=[name for name, _ in STEPS])
def test_every_step_of_ci_is_a_target(name: str, command: str) -> None:
    program, target, *rest = shlex.split(command)
    assert program == "make", name
    done = make(target, *rest)
    assert done.returncode == 0, done.stderr


def test_ci_has_steps() -> None:
    assert {"check", "tests", "run", "wheel"} <= {name for name, _ in STEPS}


def test_a_target_that_is_not_there_would_be_noticed() -> None:
    assert make("no/such/target").returncode != 0


def test_every_target_has_a_line_of_help() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = " ".join(re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, flags=re.MULTILINE)).replace("\\", " ").split()
    helped = re.findall(r"^([a-z0-9/_-]+):.*## .+$", text, flags=re.MULTILINE)
    assert sorted(phony) == sorted(helped)
