"""Whether this machine can run containers of the process kubelet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

TRIAL = "import ctypes,sys; sys.exit(ctypes.CDLL(None).unshare(0x20020000) != 0)"  # CLONE_NEWNS | CLONE_NEWPID


def cannot_run() -> str:
    """Return why not, or nothing: it needs Linux, the right to make mount namespaces, which root has, and a checkout that pods see."""
    if sys.platform != "linux":
        return "the process kubelet needs Linux"
    if os.geteuid() != 0 or subprocess.run([sys.executable, "-I", "-S", "-c", TRIAL], check=False).returncode:
        return "the process kubelet needs root and the right to make namespaces (CAP_SYS_ADMIN)"
    return hidden((Path(__file__), Path(sys.prefix)))


def hidden(needed: Iterable[Path]) -> str:
    """Return why containers would not find the paths that they need, or nothing: each pod has a /tmp of its own."""
    for path in needed:
        if path.resolve().is_relative_to("/tmp"):  # noqa: S108 - 容器里就叫这个名字
            return f"the process kubelet cannot run from below /tmp, which its pods hide: {path}; check out elsewhere"
    return ""
