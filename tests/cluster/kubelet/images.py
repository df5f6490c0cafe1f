"""Images are names: each stands for a program of this machine. An unknown name cannot be pulled."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - 在这里是“Pod 的地址”，见 making.py
TAGS = ("test", "v1", "v2", "v3")


@dataclass(frozen=True, slots=True)
class Image:
    """A program: its entry point, the environment, user and folder that it sets, and the folders it brings (read-only)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    workdir: str = "/"
    user: tuple[int, int] = (0, 0)

    @classmethod
    def taskmill(cls, checkout: Path = CHECKOUT, *, env: dict[str, str] | None = None) -> Image:
        """Return the image of a checkout with an environment in .venv; the rest is as in the Dockerfile."""
        built = {
            "PATH": f"{checkout / '.venv/bin'}:{SYSTEM_PATH}",
            "HOME": "/home/taskmill",
            "PYTHONUNBUFFERED": "1",
            "TASKMILL_API_HOST": EVERYWHERE,
            "TASKMILL_LOG_FORMAT": "json",
        }
        return cls(
            entrypoint=("taskmill",),
            command=("--help",),
            env={**built, **(env or {})},
            folders=(checkout,),
            workdir="/tmp",  # noqa: S108 - 容器自己的
            user=(10001, 10001),
        )

    @classmethod
    def shell(cls) -> Image:
        """Return an image with the host's shell and this Python as `python`."""
        return cls(command=("sh",), env={"PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}"}, folders=(CHECKOUT,))


class PullError(Exception):
    """The image cannot be pulled now."""


class Images:
    """The registry: `taskmill:test`, `taskmill:v1` to `v3` (the same program) and `shell:test` are there from the start."""

    def __init__(self) -> None:
        self._known: dict[str, Image] = {f"taskmill:{tag}": Image.taskmill() for tag in TAGS}
        self._known["shell:test"] = Image.shell()
        self._failing: dict[str, str] = {}

    def add(self, name: str, image: Image | None = None) -> None:
        """Make `name` pullable; without `image` it is this checkout's taskmill."""
        self._known[name] = image or Image.taskmill()

    def remove(self, name: str) -> None:
        """Make `name` unknown."""
        self._known.pop(name, None)

    def fail(self, name: str, message: str = "connection reset by peer") -> None:
        """Let pulls of `name` fail until `heal`."""
        self._failing[name] = message

    def heal(self, name: str) -> None:
        """End `fail`."""
        self._failing.pop(name, None)

    def pull(self, name: str) -> Image:
        """Return the image; raises PullError."""
        if name in self._failing:
            raise PullError(f'failed to pull image "{name}": {self._failing[name]}')
        if name not in self._known:
            raise PullError(f'failed to pull image "{name}": not found')
        return self._known[name]
