"""The image that the tests run: the project's own by its Dockerfile as it is, on a stand-in for the base that nobody can pull here.

What does not change is kept in `.cache/image/`: the base that debootstrap makes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.image.engine import Docker
from tests.support import base_image

CHECKOUT: Final = Path(__file__).parents[2]
CACHE: Final = CHECKOUT / ".cache" / "image"
TASKMILL: Final = "taskmill:0.1.0"  # compose.yaml 里的名字
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


def all_images(docker: Docker) -> None:
    """Build the base and ours."""
    for name in base_image.names(CHECKOUT / "Dockerfile"):
        _base(docker, name)
    _built(docker, CHECKOUT, TASKMILL)


def base() -> str:
    """Return the name of the base of the project's image."""
    [name] = base_image.names(CHECKOUT / "Dockerfile")
    return name


def _built(docker: Docker, context: Path, *names: str) -> None:
    started = time.monotonic()
    tags = [word for name in names for word in ("--tag", name)]
    docker("build", "--network=host", "--progress=plain", *tags, context)
    sys.stdout.write(f"{names[0]}: {time.monotonic() - started:.0f} s\n")
    sys.stdout.flush()


def _base(docker: Docker, name: str) -> None:
    """官方镜像的替身；这台机器信任的证书写进它，而不写进项目的镜像。"""
    archive = CACHE / f"{name.replace(':', '-')}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="base-") as folder:
            root, partial = Path(folder) / "root", archive.with_suffix(".partial")
            base_image.make(name, root)
            shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
            (root / "etc/uv").mkdir()
            (root / "etc/uv/uv.toml").write_text("system-certs = true\n")
            subprocess.run(["tar", "--create", "--file", str(partial), "--directory", str(root), "."], check=True)
            partial.rename(archive)
    docker("import", "--change", f"ENV PATH={base_image.PATH}", archive, name)
