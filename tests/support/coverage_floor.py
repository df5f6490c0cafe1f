"""Packages whose coverage has a floor of its own: `python -m tests.support.coverage_floor [coverage.xml]`.

Lines and branches together, as coverage.py counts them; the floor of the whole stands in pyproject.toml.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

FLOORS: Mapping[str, float] = {"engine": 95.0, "services": 95.0}  # 百分比
_BRANCHES = re.compile(r"\((\d+)/(\d+)\)")


def rates(report: Path) -> dict[str, float]:
    """Return the coverage in per cent of each package right under `taskmill`, its own packages included."""
    covered: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for module in ET.parse(report).getroot().iter("class"):  # noqa: S314 - 自己刚写的文件
        package = _package(module.attrib["filename"])
        for line in module.iter("line"):
            total[package] += 1
            covered[package] += int(line.attrib["hits"]) > 0
            branches = _BRANCHES.search(line.attrib.get("condition-coverage", ""))
            if branches is not None:
                covered[package] += int(branches[1])
                total[package] += int(branches[2])
    return {package: 100 * covered[package] / total[package] for package in total}


def _package(filename: str) -> str:
    parts = PurePosixPath(filename).parts
    inside = parts[parts.index("taskmill") + 1 :] if "taskmill" in parts else parts
    return inside[0] if len(inside) > 1 else ""


def below(found: Mapping[str, float], floors: Mapping[str, float] = FLOORS) -> list[str]:
    """Return a sentence for each package under its floor; one that was not measured is under it."""
    return [
        f"taskmill.{package}: {found.get(package, 0.0):.1f} %, floor {floor:g} %"
        for package, floor in floors.items()
        if found.get(package, 0.0) < floor
    ]


def main(arguments: list[str]) -> int:
    """Print the rates of the packages with a floor; 1 if one is below."""
    found = rates(Path(arguments[0] if arguments else "coverage.xml"))
    for package in FLOORS:
        sys.stdout.write(f"taskmill.{package}: {found.get(package, 0.0):.1f} %\n")
    problems = below(found)
    for problem in problems:
        sys.stderr.write(f"coverage too low: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
