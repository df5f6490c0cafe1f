"""Becomes the command: limits itself, asks to die with the worker, then execs.

Run as a script (`python -I -S launcher.py MEMORY_BYTES WORKER_PID ARGV…`), because code between fork and exec is
unsafe in a process with threads. Exit code 127 and a line on standard error if the command cannot be executed.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)
NOT_EXECUTABLE = 127  # 与 shell 的惯例一致


def main() -> None:
    """Set the limits and replace this process."""
    memory, parent, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # 工作进程在上一行之前就死了
        os._exit(NOT_EXECUTABLE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python 启动时忽略了它，exec 会传下去
    try:
        os.execv(argv[0], argv)  # noqa: S606 - 允许名单由调用者检查过
    except OSError as error:
        sys.stderr.write(f"cannot execute {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(NOT_EXECUTABLE)


if __name__ == "__main__":
    main()
