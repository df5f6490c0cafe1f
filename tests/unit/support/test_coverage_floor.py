"""The floor of coverage per package, on a report written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.coverage_floor import below, main, rates

REPORT = """<?xml version="1.0" ?>
<coverage><packages><package name="p"><classes>
<class filename="{prefix}engine/worker.py"><lines>
  <line number="1" hits="1"/><line number="2" hits="1" branch="true" condition-coverage="50% (1/2)"/></lines></class>
<class filename="{prefix}engine/periodic/cron.py"><lines><line number="1" hits="0"/></lines></class>
<class filename="{prefix}services/tasks.py"><lines><line number="1" hits="1"/></lines></class>
<class filename="{prefix}log.py"><lines><line number="1" hits="0"/></lines></class>
</classes></package></packages></coverage>
"""


@pytest.fixture(params=["", "platform/taskmill/"])
def report(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "coverage.xml"
    path.write_text(REPORT.format(prefix=request.param))
    return path


def test_lines_and_branches_count_together_and_packages_hold_what_is_inside(report: Path) -> None:
    assert rates(report) == {"engine": 60.0, "services": 100.0, "": 0.0}


def test_what_is_below_its_floor_is_named(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report)]) == 1
    assert "taskmill.engine: 60.0 %, floor 95 %" in capsys.readouterr().err


def test_a_package_that_was_not_measured_is_below() -> None:
    assert below({"engine": 95.0}) == ["taskmill.services: 0.0 %, floor 95 %"]
    assert below({"engine": 95.0, "services": 99.0}) == []
