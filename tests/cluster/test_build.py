"""Only a complete build counts as built; the pins of the Go modules decide where it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster import binaries, build

COMPILER = """#!/bin/sh
echo "$@" >> "$GO_CALLS"
while [ "$1" != -o ]; do shift; done
case "$2" in */{fails_at}) echo broken >&2; exit 1;; esac
echo program > "$2"
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a `go` of the test's own; the file of what was asked of it."""
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("GO_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(binaries.ASSETS, raising=False)
    return tmp_path / "calls"


def compiler(folder: Path, *, fails_at: str = "nothing") -> None:
    (folder / "go").write_text(COMPILER.replace("{fails_at}", fails_at))
    (folder / "go").chmod(0o755)


def test_a_build_that_fails_in_the_middle_leaves_nothing(tmp_path: Path, calls: Path) -> None:
    compiler(tmp_path, fails_at="kubectl")
    assert build.main() == 1
    assert len(calls.read_text().splitlines()) > 1
    assert list(build.CACHE.iterdir()) == []
    assert binaries.absent() == list(build.BINARIES)


def test_a_second_build_does_nothing(tmp_path: Path, calls: Path) -> None:
    compiler(tmp_path)
    assert build.main() == 0
    assert binaries.absent() == []
    asked = calls.read_text()
    assert build.main() == 0
    assert calls.read_text() == asked


def test_leftovers_of_an_interrupted_build_do_not_count(calls: Path) -> None:
    leftover = build.CACHE / "building-1"
    leftover.mkdir(parents=True)
    (leftover / "etcd").touch()
    assert "etcd" in binaries.absent()


def test_no_compiler_is_one_line(
    tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.main() == 1
    assert "Go" in capsys.readouterr().err


def test_given_programs_come_first(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path)
    build.main()
    given = tmp_path / "assets"
    given.mkdir()
    (given / "etcd").touch()
    monkeypatch.setenv(binaries.ASSETS, str(given))
    assert binaries.program("etcd") == str(given / "etcd")
    assert binaries.program("helm") == str(build.folder() / "helm")


@pytest.mark.parametrize("upstream", build.UPSTREAMS)
def test_every_program_is_a_tool_of_its_module(upstream: str) -> None:
    text = (build.MODULES / upstream / "go.mod").read_text()
    tools = set(re.findall(r"^(?:tool)?\s+(\S+)$|^tool (\S+)$", text, flags=re.MULTILINE))
    assert set(build.PACKAGES[upstream].values()) <= {name for pair in tools for name in pair}


def test_staging_modules_are_of_the_same_release() -> None:
    text = (build.MODULES / "kubernetes" / "go.mod").read_text()
    replaced = set(re.findall(r"=> k8s\.io/\S+ v0\.(\S+)", text))
    assert replaced == {build.version("kubernetes").removeprefix("1.")}
