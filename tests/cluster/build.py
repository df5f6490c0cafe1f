"""Build the control plane for tests: `python -m tests.cluster.build` does nothing when it is already built.

The versions are pinned by the Go modules in `controlplane/`, one per upstream because their dependencies clash.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MODULES = Path(__file__).with_name("controlplane")
CACHE = Path(__file__).parents[2] / ".cache" / "controlplane"
UPSTREAMS = {
    "kubernetes": "k8s.io/kubernetes",
    "etcd": "go.etcd.io/etcd/server/v3",
    "helm": "helm.sh/helm/v4",
}
# 一个上游的主包与产物名：etcd 的主包在模块根上，`go build` 会把它叫作 server
PACKAGES = {
    "kubernetes": {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    },
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
}
BINARIES = tuple(name for packages in PACKAGES.values() for name in packages)


def version(upstream: str) -> str:
    """Return the version that the module of `upstream` pins, such as `1.37.2`."""
    text = (MODULES / upstream / "go.mod").read_text()
    found = re.search(rf"^(?:require)?\s*{re.escape(UPSTREAMS[upstream])} v(\S+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{upstream}/go.mod does not require {UPSTREAMS[upstream]}")
    return found[1]


def folder() -> Path:
    """Return the folder of the built binaries; it exists only when the build is complete."""
    return CACHE / "_".join(f"{upstream}-{version(upstream)}" for upstream in UPSTREAMS)


def linker_flags(upstream: str) -> str:
    """Return the flags that give the binaries their version, which the controller manager insists on."""
    pinned = version(upstream)
    values: dict[str, str] = {}
    if upstream == "kubernetes":
        major, minor, _ = pinned.split(".", 2)
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            values[f"{package}.gitVersion"] = f"v{pinned}"
            values[f"{package}.gitMajor"] = major
            values[f"{package}.gitMinor"] = minor
    elif upstream == "helm":
        values["helm.sh/helm/v4/internal/version.version"] = f"v{pinned}"
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


def compile_into(target: Path) -> bool:
    """Build every program into `target`; return whether all of them compiled."""
    return all(
        compile_one(target / name, package, MODULES / upstream, "-ldflags", linker_flags(upstream))
        for upstream, packages in PACKAGES.items()
        for name, package in packages.items()
    )


def compile_one(target: Path, package: str, module: Path, *options: str, cgo: bool = False) -> bool:
    """Build a main package of a module; return whether it compiled."""
    environment = {**os.environ, "CGO_ENABLED": "1" if cgo else "0", "GOWORK": "off"}
    started = time.monotonic()
    command = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", *options, "-o", str(target), package]
    if subprocess.run(command, cwd=module, env=environment, check=False).returncode != 0:
        return False
    sys.stdout.write(f"{target.name}: {time.monotonic() - started:.0f} s\n")
    sys.stdout.flush()
    return True


def main() -> int:
    """Build the control plane unless it is there."""
    return once(folder(), compile_into)


def once(target: Path, fill: Callable[[Path], bool]) -> int:
    """Build into a folder beside the final one and rename it, so that what was interrupted never counts as built."""
    if target.is_dir():
        return 0
    if shutil.which("go") is None:
        sys.stderr.write("Go 1.26 or later is needed to build the control plane\n")
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=target.parent, ignore_cleanup_errors=True) as partial:
        if not fill(Path(partial)):
            return 1
        Path(partial).chmod(0o755)
        if not target.is_dir():
            Path(partial).rename(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
