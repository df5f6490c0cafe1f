"""The table of values in the chart's README, from the comments of values.yaml: `--write`, or `--check`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.charts import CHART

README, VALUES = CHART / "README.md", CHART / "values.yaml"
BEGIN, END = "<!-- values -->", "<!-- /values -->"
KEY = re.compile(r"^( *)([A-Za-z]+):")


def comments(text: str) -> dict[str, str]:
    """Return the comment before every key that has one (`# -- …`), by path."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    about: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            words = line.strip().removeprefix("#").strip()
            about = [words[2:].strip()] if words.startswith("--") else [*about, words] if about else []
        elif match := KEY.match(line):
            depth = len(match[1])
            path = [part for part in path if part[0] < depth] + [(depth, match[2])]
            if about:
                found[".".join(name for _, name in path)] = " ".join(about)
            about = []
        else:
            about = []
    return found


def leaves(values: dict[str, Any], told: dict[str, str], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that a comment explains, and every one below which nothing is explained."""
    for name, value in values.items():
        place = f"{path}{name}"
        if place in told or not isinstance(value, dict):
            yield place, value
        else:
            yield from leaves(value, told, f"{place}.")


def table() -> str:
    """Return the table; LookupError for a value without a comment."""
    text = VALUES.read_text(encoding="utf-8")
    told = comments(text)
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for place, value in leaves(yaml.safe_load(text), told):
        if place not in told:
            raise LookupError(f"values.yaml: {place} has no comment")
        meaning = told[place].replace("|", "\\|")
        lines.append(f"| `{place}` | `{json.dumps(value, ensure_ascii=False)}` | {meaning} |")
    return "\n".join(lines)


def expected() -> str:
    """Return the README with the table as it should be."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the README, or compare it."""
    if arguments == ["--write"]:
        README.write_text(expected(), encoding="utf-8")
        return 0
    if README.read_text(encoding="utf-8") == expected():
        return 0
    sys.stderr.write("charts/taskmill/README.md: out of date, run make generate\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
