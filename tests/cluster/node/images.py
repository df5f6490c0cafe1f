"""Images without a registry: the project's own by its Dockerfile, on a base that debootstrap makes: `python -m tests.cluster.node.images`.

Buildah builds as `docker build` would. What is not the same: the base `python:…-slim-bookworm` is Debian's minimal system
with Debian's Python, because that image cannot be pulled everywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.cluster.node import programs
from tests.support import base_image

CHECKOUT: Final = Path(__file__).parents[3]
FOLDER: Final = programs.CACHE / "images"
TASKMILL, PAUSE = "docker.io/library/taskmill:test", "registry.k8s.io/pause:test"
TOOLS: Final = ("buildah", "debootstrap")
PAUSE_FILE: Final = 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n'


def archive(name: str) -> Path:
    """Return where the archive of an image is."""
    return FOLDER / f"{name.rpartition('/')[2].replace(':', '-')}.tar"


def main() -> int:
    """Build what is not there or no longer what its sources say."""
    if lacking := [tool for tool in TOOLS if shutil.which(tool) is None]:
        sys.stderr.write(f"the images of a node need Debian's packages {', '.join(lacking)}\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pause-") as context:
        shutil.copy(programs.folder() / programs.PAUSE, context)
        (Path(context) / "Dockerfile").write_text(PAUSE_FILE)
        _build(PAUSE, Path(context), key=programs.folder().name)
    _build(TASKMILL, CHECKOUT, key=_sources())
    return 0


def _build(name: str, context: Path, *, key: str) -> None:
    mark = archive(name).with_suffix(".key")
    if mark.exists() and mark.read_text() == key:
        return
    for base in base_image.names(context / "Dockerfile"):
        _base(base)
    (FOLDER / "uv.toml").write_text("system-certs = true\n")
    trusted = {"/etc/ssl/certs": "/etc/ssl/certs", FOLDER / "uv.toml": "/etc/uv/uv.toml"}  # 机器信任的，只在构建时借用
    certificates = [f"--volume={source}:{target}:ro" for source, target in trusted.items()]
    _buildah(
        "build", "--isolation=chroot", "--network=host", "--pull-never", "--layers", *certificates, "-t", name, str(context)
    )
    archive(name).unlink(missing_ok=True)
    _buildah("push", name, f"docker-archive:{archive(name)}:{name}")
    mark.write_text(key)


def _base(name: str) -> None:
    """没有就用 debootstrap 做一个，挂上官方镜像的名字。"""
    full = f"docker.io/library/{name}"
    if any(full in (image["names"] or ()) for image in json.loads(_buildah("images", "--json") or "[]")):
        return
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        root = Path(folder) / "root"
        base_image.make(name, root)
        container = _buildah("from", "scratch").strip()
        _buildah("add", "--quiet", container, str(root), "/")
        _buildah("config", "--env", f"PATH={base_image.PATH}", container)
        _buildah("commit", "--quiet", "--rm", container, full)


def _buildah(verb: str, *arguments: str) -> str:
    store = [
        "--root",
        str(programs.CACHE / "buildah"),
        "--runroot",
        str(programs.CACHE / "buildah-run"),
        "--storage-driver=overlay",
    ]
    output = None if verb == "build" else subprocess.PIPE
    done = subprocess.run(["buildah", *store, verb, *arguments], stdout=output, check=True, text=True)
    return done.stdout or ""


def _sources() -> str:
    """镜像由什么做成：Dockerfile 与它复制的一切。"""
    digest = hashlib.sha256((CHECKOUT / "Dockerfile").read_bytes())
    for path in _copied(re.findall(r"^COPY (?!--from)(.+) \S+$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)):
        digest.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _copied(lines: Sequence[str]) -> Iterator[Path]:
    for name in sorted(name for line in lines for name in line.split()):
        place = CHECKOUT / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)


if __name__ == "__main__":
    sys.exit(main())
