"""The report of `make bench/peers` becomes a page and a chart, and its drivers are found and held to what they claim."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.peers import drivers, run
from benchmarks.peers.chart import chart
from benchmarks.peers.page import TITLES, page

SVG = "{http://www.w3.org/2000/svg}"
REPORT: dict[str, Any] = {
    "runs": 3, "short": False, "load_before": 0.1, "load_after": 2.0, "machine": {"cpu": "a <fast> one", "cores": 2},
    "servers": {"postgres fsync": "on", "valkey appendfsync": "everysec"},
    "errors": [{"system": "lost", "measure": "drain-10", "error": "9 ran and\n1 is held"}],
    "systems": {
        "taskmill": {
            "system": "Taskmill", "store": "postgresql", "durable": "PostgreSQL", "tuned": "no", "versions": {"taskmill": "9.8"},
            "figures": {"single": {"n": 300, "seconds": [3.0, 1.0, 2.0]}, "drain-10": {"n": 300, "seconds": [1.0, 1.0, 1.0]}},
        },
        "other": {
            "system": "Other & Sons", "store": "redis", "durable": "lists", "tuned": "yes", "versions": {"example.com/other": "v1"},
            "figures": {"single": {"n": 100, "seconds": [0.1, 0.2, 0.4]}},
        },
    },
}  # fmt: skip


@pytest.fixture
def report() -> dict[str, Any]:
    return run.summed(copy.deepcopy(REPORT))


def rows(text: str, of: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith(f"| {of} ")]


def drawn(report: dict[str, Any]) -> ET.Element:
    return ET.fromstring(chart(report))  # noqa: S314 - 自己写的


def test_the_page_shows_medians_with_slowest_and_fastest_run(report: dict[str, Any]) -> None:
    text = page(report, "peers.svg")
    assert rows(text, "Taskmill")[0] == ["Taskmill", "PostgreSQL", "150 (100–300)", "–", "300 (300–300)", "–"]
    assert rows(text, "Other")[0] == ["Other & Sons", "Redis protocol", "500 (250–1,000)", "–", "–", "–"]
    assert rows(text, "Other")[1][1:] == ["other v1", "lists", "yes", "single 100"]


def test_the_page_names_servers_failures_and_its_chart(report: dict[str, Any]) -> None:
    text = page(report, "peers.svg")
    assert "](peers.svg)" in text
    assert "postgres fsync on, valkey appendfsync everysec" in text
    assert "- **failed**: lost drain-10: 9 ran and 1 is held" in text


@pytest.mark.parametrize(("short", "warned"), [(True, True), (False, False)])
def test_a_short_run_says_that_its_figures_say_nothing(report: dict[str, Any], short: bool, warned: bool) -> None:
    assert ("say nothing" in page(report | {"short": short}, None)) is warned


def test_bars_are_as_long_as_the_figures_and_stand_from_fast_to_slow(report: dict[str, Any]) -> None:
    root = drawn(report)
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert texts[2:] == [TITLES["single"], "Other & Sons", "500", "Taskmill", "150", TITLES["drain-10"], "Taskmill", "300"]
    bars = [(each.get("class"), float(each.get("width", 0))) for each in root.iter(f"{SVG}rect")][3:]
    assert [name for name, _ in bars] == ["redis", "postgresql", "postgresql"]
    assert bars[1][1] / bars[0][1] == pytest.approx(0.3, abs=0.001)
    assert bars[2][1] == bars[0][1]


def test_the_chart_keeps_within_its_frame(report: dict[str, Any]) -> None:
    root = drawn(report)
    width, height = (float(root.get(name, 0)) for name in ("width", "height"))
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.get("x", 0)) + float(bar.get("width", 0)) <= width
        assert float(bar.get("y", 0)) + float(bar.get("height", 0)) <= height


def test_a_report_without_figures_still_has_page_and_chart() -> None:
    empty = {**REPORT, "systems": {}, "errors": []}
    assert "**failed**" not in page(empty, None)
    assert not [each for each in drawn(empty).iter(f"{SVG}text") if each.text in TITLES.values()]


def test_every_driver_is_found_and_taskmill_is_first() -> None:
    assert drivers.names() == ["taskmill", "asynq", "celery", "dramatiq", "procrastinate", "river", "taskiq_redis"]


@pytest.mark.parametrize("name", ["celery", "dramatiq", "procrastinate", "taskiq_redis"])
def test_a_driver_pins_its_packages(name: str) -> None:
    packages = drivers.requirements((drivers.HERE / f"{name}_peer.py").read_text())
    assert packages
    assert all(re.fullmatch(r"[a-z-]+(\[[a-z,]+\])?==[\d.]+", package) for package in packages)


DRIVER = """
import json, os, pathlib, sys
n, (marks, held) = int(sys.argv[2]), {said}
tally = pathlib.Path(os.environ["PEER_TALLY"])
tally.write_bytes(bytes([1] * marks + [0] * (n - marks)))
print("chatter")
print(json.dumps({{"measure": sys.argv[1], "n": n, "seconds": 0.5, "held": held}}))
"""
CLAIMS = {
    "all ran": ("drain", (10, 0), True),
    "one did not run": ("drain", (9, 0), False),
    "one is still held": ("drain", (10, 1), False),
    "all are held": ("single", (0, 10), True),
    "one was not stored": ("single", (0, 9), False),
}


@pytest.mark.parametrize(("measure", "said", "held_true"), CLAIMS.values(), ids=CLAIMS)
def test_a_driver_is_believed_only_when_all_of_its_tasks_ran(
    tmp_path: Path, measure: str, said: tuple[int, int], held_true: bool
) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(said=said))
    driver = drivers.Driver("fake", (sys.executable, str(script)))

    def ask() -> float:
        return driver.measure(measure, 10, 1, folder=tmp_path, database_url="", broker_url="")

    if held_true:
        assert ask() == 0.5
    else:
        with pytest.raises(drivers.PeerError, match="expected"):
            ask()


@pytest.mark.parametrize(("share", "n"), [(1.0, 96_000), (0.2, 19_200), (0.001, run.STEP)])
def test_a_slow_system_does_a_share_of_the_work(share: float, n: int) -> None:
    assert run.size(96_000, share) == n
