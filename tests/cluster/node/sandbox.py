"""Run a command as root in namespaces of its own (mounts, network, processes, cgroups): `python -m tests.cluster.node.sandbox CMD…`.

Everything that a node changes is inside: its bridge and rules, mounts, /run, /var/lib, /var/log, settings of the kernel
(read-only, but for those of its network). Its processes die with the first of them, and that one with us.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.node import cgroups
from tests.support.children import tied

APART = ("--net", "--mount", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private")
TOOLS = {"unshare": "util-linux", "ip": "iproute2", "nft": "nftables"}


def cannot_run() -> str:
    """Return why not, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a node needs root on Linux"
    if lacking := [package for tool, package in TOOLS.items() if shutil.which(tool) is None]:
        return f"a node needs Debian's packages {', '.join(lacking)}"
    return cgroups.missing()


def run(command: Sequence[str]) -> int:
    """Run it and return its exit code; nothing of the node is left."""
    groups = cgroups.Groups(f"taskmill-node-{os.getpid()}")
    scratch = Path(tempfile.mkdtemp(prefix="taskmill-node-"))
    scratch.chmod(0o755)  # PostgreSQL 以另一个用户运行，要能走到自己的目录
    inside = [
        shutil.which("unshare") or "",
        *APART,
        sys.executable,
        "-m",
        "tests.cluster.node.inside",
        str(scratch),
        *command,
    ]
    groups.make()
    try:
        return subprocess.run(tied(*inside), check=False, preexec_fn=groups.enter).returncode
    finally:
        groups.remove()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    if reason := cannot_run():
        sys.exit(reason)
    sys.exit(run(sys.argv[1:]))
