"""Both halves of the chaos tests: `python -m tests.chaos ARGUMENTS`, which is `make test/chaos ARGS="…"`.

Without arguments the tests of this folder run, then the driver with a seed of chance. Arguments that the driver knows
(`--minutes`, `--seed`, `--only`, `--plan`, `--write`, `--folder`) run the driver alone; any others run the tests alone, with them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

DRIVER = ("--minutes", "--seed", "--only", "--plan", "--write", "--folder")


def commands(arguments: Sequence[str]) -> list[list[str]]:
    """Return what to run, one after the other."""
    tests = [sys.executable, "-m", "pytest", "tests/chaos", *arguments]
    driver = [sys.executable, "-m", "tests.chaos.driver", *arguments]
    if not arguments:
        return [tests, driver]
    return [driver if any(word.split("=", maxsplit=1)[0] in DRIVER for word in arguments) else tests]


def main(arguments: Sequence[str]) -> int:
    """Run all parts, whatever becomes of the first; returns the first exit code that is not 0."""
    codes = [subprocess.run(command, check=False).returncode for command in commands(arguments)]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
