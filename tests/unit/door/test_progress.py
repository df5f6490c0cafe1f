"""A bar is drawn where a person looks, and nowhere else."""

from __future__ import annotations

import sys

import pytest

from taskmill.door import progress
from taskmill.door.progress import Progress


def test_who_wants_it_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, wanted=True) as bar:
        bar.advance(4)
        bar.advance(6)
    found = capsys.readouterr()
    assert found.out == ""
    assert "10/10" in found.err


@pytest.mark.parametrize(("terminal", "patience", "shown"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)])
def test_else_a_terminal_shows_what_takes_a_moment(
    terminal: bool, patience: float, shown: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", patience)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with Progress(None) as bar:
        bar.advance(4)
    assert bool(capsys.readouterr().err) is shown


def test_who_does_not_want_it_sees_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(1, wanted=False) as bar:
        bar.advance(1)
    assert capsys.readouterr().err == ""
