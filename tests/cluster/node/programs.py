"""Build the programs of a node beside those of the control plane: `python -m tests.cluster.node.programs` does nothing when they are there.

kubelet and kube-proxy come from the module of the control plane, so they are of its version; the others from modules in `modules/`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import build

MODULES: Final = Path(__file__).with_name("modules")
CACHE: Final = build.CACHE.with_name("node")
PAUSE: Final = "pause"


@dataclass(frozen=True, slots=True)
class Program:
    """A main package of a module; with `cgo` it needs a C compiler and the headers of libseccomp."""

    module: Path
    package: str
    tags: str = ""
    cgo: bool = False


def _containerd(command: str) -> Program:
    # 只要 overlayfs，别的快照器不编
    return Program(
        MODULES / "containerd", f"github.com/containerd/containerd/v2/cmd/{command}", "no_btrfs no_zfs no_devmapper"
    )


def _kubernetes(command: str) -> Program:
    return Program(build.MODULES / "kubernetes", f"k8s.io/kubernetes/cmd/{command}")


def _plugin(name: str) -> Program:
    return Program(MODULES / "cni", f"github.com/containernetworking/plugins/plugins/{name}")


PROGRAMS: Final = {
    "kubelet": _kubernetes("kubelet"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "containerd": _containerd("containerd"),
    "containerd-shim-runc-v2": _containerd("containerd-shim-runc-v2"),
    "ctr": _containerd("ctr"),
    "runc": Program(MODULES / "runc", "github.com/opencontainers/runc", "seccomp", cgo=True),
    "bridge": _plugin("main/bridge"),
    "host-local": _plugin("ipam/host-local"),
    "loopback": _plugin("main/loopback"),
}


def folder() -> Path:
    """Return the folder of the built programs, named by their versions; it exists only when the build is complete."""
    pins = {"kubernetes": build.version("kubernetes")}
    for module in sorted(MODULES.iterdir()):
        found = re.search(
            r"^(?:require)?\s*(?:github\.com/\S+/(?:containerd/v2|runc|plugins)) v(\S+)", _text(module), re.MULTILINE
        )
        pins[module.name] = found[1] if found else "unknown"
    return CACHE / "_".join(f"{name}-{version}" for name, version in pins.items())


def _text(module: Path) -> str:
    return (module / "go.mod").read_text()


def compile_into(target: Path) -> bool:
    """Build every program into `target`; return whether all of them compiled."""
    for name, program in PROGRAMS.items():
        flags = build.linker_flags("kubernetes") if program.module.parent == build.MODULES else "-s -w"
        options = ["-tags", program.tags, "-ldflags", flags]
        if not build.compile_one(target / name, program.package, program.module, *options, cgo=program.cgo):
            return False
    return _compile_pause(target / PAUSE)


def _compile_pause(target: Path) -> bool:
    """占位容器的程序是 Kubernetes 源码里的一个 C 文件。"""
    command = ["go", "list", "-m", "-json", "k8s.io/kubernetes"]
    environment = {**os.environ, "GOWORK": "off"}
    told = subprocess.run(command, cwd=build.MODULES / "kubernetes", env=environment, capture_output=True, check=False)
    if told.returncode != 0:
        sys.stderr.write(told.stderr.decode())
        return False
    source = Path(json.loads(told.stdout)["Dir"]) / "build" / "pause" / "linux" / "pause.c"
    version = ["-DVERSION=" + build.version("kubernetes")]
    return subprocess.run(["gcc", "-Os", "-static", *version, "-o", str(target), str(source)], check=False).returncode == 0


def main() -> int:
    """Build unless it is there."""
    return build.once(folder(), compile_into)


if __name__ == "__main__":
    sys.exit(main())
