"""Become another program that cannot outlive its parent: `launcher.py SIGNAL PARENT UID:GID COMMAND…`.

Run as a script by `spawn.py`, never imported: the kernel's death signal and the change of user must happen
in the child, and doing so in Python code between fork and exec is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Drop privileges (UID:GID, or `-` to keep them), ask for SIGNAL when PARENT dies, then exec COMMAND."""
    death_signal, parent, account, *command = arguments
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # 必须在换用户之后设置：换用户会清除它
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != int(parent):
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - 命令由本项目拼成


if __name__ == "__main__":
    main(sys.argv[1:])
