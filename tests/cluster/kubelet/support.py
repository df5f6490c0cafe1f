"""Whether this machine can run containers of the process kubelet."""

from __future__ import annotations

import os
import subprocess
import sys

TRIAL = "import ctypes,sys; sys.exit(ctypes.CDLL(None).unshare(0x20020000) != 0)"  # CLONE_NEWNS | CLONE_NEWPID


def cannot_run() -> str:
    """Return why not, or nothing: it needs Linux and the right to make mount namespaces, which root has."""
    if sys.platform != "linux":
        return "the process kubelet needs Linux"
    if os.geteuid() != 0 or subprocess.run([sys.executable, "-I", "-S", "-c", TRIAL], check=False).returncode:
        return "the process kubelet needs root and the right to make namespaces (CAP_SYS_ADMIN)"
    return ""
