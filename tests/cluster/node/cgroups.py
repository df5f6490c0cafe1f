"""Cgroups of version 1: a child of our own in each hierarchy, so that all limits on us hold for the node too."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GONE_S: Final = 20.0  # 名字空间里最后的进程退出要一会儿
POLL_S: Final = 0.1
NEEDED: Final = frozenset({"cpu", "cpuacct", "cpuset", "memory", "pids"})
PARENT_DECIDES: Final = ("cpuset.cpus", "cpuset.mems")  # 新建的组里是空的，进不去


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy: its controllers as `mount -o` takes them, where it is mounted, our group in it."""

    options: str
    mount: Path
    own: Path

    @property
    def name(self) -> str:
        """The folder that it is mounted at by convention."""
        return self.options.rpartition("=")[2]


def hierarchies() -> list[Hierarchy]:
    """Return the hierarchies of version 1 that are mounted here."""
    places = {frozenset(options): mount for mount, options in _mounts()}
    found: list[Hierarchy] = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mount = next((place for options, place in places.items() if set(controllers.split(",")) <= options), None)
        if controllers and mount is not None:
            options = f"none,{controllers}" if controllers.startswith("name=") else controllers
            found.append(Hierarchy(options, mount, mount / path.lstrip("/")))
    return found


def _mounts() -> list[tuple[Path, list[str]]]:
    found: list[tuple[Path, list[str]]] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup":
            found.append((Path(before.split()[4]), options.split(",")))
    return found


def missing() -> str:
    """Return why a kubelet cannot have cgroups here, or nothing."""
    have = {name for each in hierarchies() for name in each.options.split(",")}
    if lacking := NEEDED - have:
        return f"the node is written for cgroup v1; not mounted here: {', '.join(sorted(lacking))}"
    return ""


class Groups:
    """Our child groups: `enter` in the process to be, `remove` when all of its descendants are gone."""

    def __init__(self, name: str) -> None:
        self._folders = [each.own / name for each in hierarchies()]

    def make(self) -> None:
        """Make them."""
        for folder in self._folders:
            folder.mkdir()
            for file in PARENT_DECIDES:
                if (given := folder.parent / file).exists():
                    (folder / file).write_text(given.read_text())

    def enter(self) -> None:
        """Move this process into them."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        """Remove them with all groups below. Raises OSError if processes stay in them."""
        deadline = time.monotonic() + GONE_S
        for folder in self._folders:
            while folder.exists():
                try:
                    for path, _, _ in os.walk(folder, topdown=False):
                        Path(path).rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(POLL_S)
