"""A pytest that is ended from outside leaves no process behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskmill.dev.process_table import wait_until

ROOT = Path(__file__).parents[3]
TEST = """
import subprocess
from tests.support.children import tied

def test_hangs():
    with subprocess.Popen(tied("/bin/sleep", "600")) as child:
        print(f"child {child.pid}", flush=True)
        child.wait()
"""


def is_alive(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal exists on Linux only")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_the_pytest_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(tmp_path / "test_it.py")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        line = next(line for line in run.stdout if "child " in line)
        child = int(line.rsplit("child ", 1)[1])
        assert wait_until(lambda: is_alive(child), 30)
        run.send_signal(number)
    assert wait_until(lambda: not is_alive(child), 30)
