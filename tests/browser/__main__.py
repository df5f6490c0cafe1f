"""Install what the browser tests and the pictures need beside the environment (Playwright, Debian's Chromium; axe-core), then run the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.browser.conftest import AXE, ROOT

AXE_PACKAGE = "axe-core@4.14.1"


def main() -> int:
    """Return pytest's exit code; arguments go to pytest."""
    install()
    if not AXE.exists():
        AXE.parent.mkdir(parents=True, exist_ok=True)
        _run("npm", "pack", "--silent", AXE_PACKAGE, cwd=AXE.parent)
        [archive] = AXE.parent.glob("axe-core-*.tgz")
        _run("tar", "xzf", str(archive), "--strip-components=1", "package/axe.min.js", cwd=AXE.parent)
    return subprocess.run([sys.executable, "-m", "pytest", "tests/browser", *sys.argv[1:]], check=False).returncode


def install() -> None:
    """Install Playwright and, as root on Debian, Chromium with fonts for Chinese, where they are missing."""
    uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
    _run(uv, "sync", "--quiet", "--frozen", "--inexact", "--group", "browser")
    if shutil.which("chromium") is None and shutil.which("chromium-browser") is None:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "chromium", "fonts-noto-cjk")


def _run(*command: str, cwd: os.PathLike[str] = ROOT) -> None:
    subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
