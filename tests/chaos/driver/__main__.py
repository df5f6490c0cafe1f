"""Random faults against real processes: `python -m tests.chaos.driver --minutes 10 --seed 7`.

Exit code 1 if any bar does not hold, 2 if the stage could not be set up.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from taskmill.log import configure_logging
from tests.chaos.driver import report
from tests.chaos.driver.facts import Breach, Facts
from tests.chaos.driver.run import Run, folder_of, plan, say
from tests.chaos.driver.stage import Stage

RANDOM = "random"
Result = tuple[Facts, Sequence[Breach]]


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.driver", description="Random faults against real processes."
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults go on, all seeds together (default: 2)")
    parser.add_argument("--seed", action="append", help="a number, or `random`; repeatable (default: random)")
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    parser.add_argument("--plan", action="store_true", help="print the rounds that the seed gives, and run nothing")
    parser.add_argument("--write", action="store_true", help=f"write the table to {report.PAGE.name}")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where logs and journals are kept (default: a new one in /tmp)"
    )
    return parser.parse_args(arguments)


def seeds_of(words: Sequence[str] | None) -> list[int]:
    """Return the seeds; `random` draws one."""
    return [random.SystemRandom().randrange(2**31) if word == RANDOM else int(word) for word in words or [RANDOM]]


def one(seed: int, seconds: float, only: str, root: Path) -> Result:
    """Run one seed and print what was found."""
    folder = folder_of(root, seed)
    folder.mkdir(parents=True)
    say(f"── seed {seed}, {seconds:.0f} s, logs and journals in {folder}")
    with ExitStack() as stack:
        run = Run(Stage(folder, stack), seed, seconds, only)
        breaches = asyncio.run(run.go())
    for data in ("postgres", "valkey-0", "valkey-1"):
        shutil.rmtree(folder / data / "data", ignore_errors=True)
    explained = report.explain(run.facts, breaches)
    (folder / "report.txt").write_text(f"{report.totals([(run.facts, breaches)])}\n{explained}\n")
    say(f"{report.totals([(run.facts, breaches)])}{explained}")
    return run.facts, breaches


def main(arguments: Sequence[str]) -> int:
    """Run all seeds; returns the exit code."""
    chosen = options(arguments)
    seeds = seeds_of(chosen.seed)
    if chosen.plan:
        for seed in seeds:
            say(f"── seed {seed}")
            for each in plan(seed, 20, chosen.only):
                say(str(each))
        return 0
    configure_logging(level="WARNING")
    root: Path = chosen.folder or Path(tempfile.mkdtemp(prefix="taskmill-chaos-"))
    began = time.monotonic()
    results = [one(seed, 60 * chosen.minutes / len(seeds), chosen.only, root) for seed in seeds]
    say(f"\n{report.machine()}\n{report.markdown(report.table(results))}")
    if chosen.write:
        report.write(results, chosen.minutes, seeds)
    broken = sum(len(breaches) for _, breaches in results)
    again = " ".join(f"--seed {seed}" for seed in seeds)
    verdict = "every bar holds" if not broken else f"{broken} breaches"
    say(f"{verdict}; {time.monotonic() - began:.0f} s in all; logs in {root}; again with: {again}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
