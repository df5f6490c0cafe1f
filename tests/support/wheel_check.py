"""Install the built wheels into an empty environment and run the demo there: `python -m tests.support.wheel_check`.

What only works from a checkout (migrations, templates, files forgotten in the wheel) fails here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the checkout in its environment and return its output. Raises CalledProcessError."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TASKMILL_", "PYTHON"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    sys.stdout.write(f"$ {' '.join(str(part) for part in command)}\n{done.stdout}")
    done.check_returncode()
    return done.stdout


def main() -> None:
    """Fail unless the wheels of `dist/` make a working `taskmill dev --demo --exit` outside the checkout."""
    core, *more = sorted((ROOT / "dist").glob("taskmill-*.whl"))
    assert not more, "more than one core wheel in dist/; run `make build`"
    plugins = [wheel for wheel in (ROOT / "dist").glob("*.whl") if wheel != core]
    with tempfile.TemporaryDirectory(prefix="taskmill-wheel-") as folder:
        empty = Path(folder)
        empty.chmod(0o755)  # PostgreSQL 的用户要走得进去
        run(sys.executable, "-m", "venv", "env", cwd=empty)
        pip = empty / "env" / "bin" / "pip"
        run(pip, "install", "-q", f"{core}[dev-servers]", *plugins, cwd=empty)
        taskmill = empty / "env" / "bin" / "taskmill"
        run(taskmill, "--version", cwd=empty)
        run(taskmill, "dev", "--demo", "--exit", cwd=empty)
    sys.stdout.write("the wheels work\n")


if __name__ == "__main__":
    main()
