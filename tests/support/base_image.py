"""A stand-in for the base images `python:…-slim-…`, where no registry of images can be reached: Debian's minimal system with its Python."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

PACKAGES: Final = "python3,python3-pip,python3-venv,ca-certificates"
PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
# 照着官方镜像：python 在 PATH 上，pip 可以往系统里装
AS_OFFICIAL: Final = "rm -f /usr/lib/python3*/EXTERNALLY-MANAGED; ln -sf /usr/bin/python3 /usr/local/bin/python"


def names(dockerfile: Path) -> list[str]:
    """Return the base images that a Dockerfile asks for."""
    return sorted(set(re.findall(r"^FROM (python:\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)))


def make(name: str, root: Path) -> None:
    """Fill the folder `root` with the system that stands for the image `name`. Needs root and debootstrap."""
    suite = name.rpartition("-")[2]
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root)], check=True)
    subprocess.run(["chroot", str(root), "sh", "-c", AS_OFFICIAL], check=True)
    shutil.rmtree(root / "var/cache/apt")
