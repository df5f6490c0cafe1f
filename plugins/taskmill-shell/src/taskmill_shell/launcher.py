"""Runs one command and leaves nothing behind: starts it, waits, ends whatever descends from it, says how it ended.

Run as a script (`python -I -S launcher.py STATUS_FD WORKER_PID GRACE_S MEMORY_BYTES ARGV…`), because code between fork
and exec is unsafe in a process with threads. Every orphan among the descendants comes to this process (subreaper), also
those that left the group by setsid: it finds, kills and reaps them. SIGTERM ends the command with a grace, SIGUSR1 at
once; that also comes when the worker dies. On STATUS_FD it writes lines of two words: `error ERRNO` if the command could
not be executed, `code N` (negative: the signal), `left PID` for what it could not kill.
"""

import ctypes
import os
import resource
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
NOT_EXECUTABLE = 127  # 与 shell 的惯例一致
KILL_WAIT_S = 2.0  # KILL 之后等这么久；还在的要么属于别的用户，要么卡在内核里
POLL_S = 0.005
LOOK_S = 3_600.0  # 没有信号时也偶尔看一眼
TERM, NOW = signal.SIGTERM, signal.SIGUSR1
AWAITED = {TERM, NOW, signal.SIGCHLD}  # 一直屏蔽，用 sigtimedwait 取：没有处理函数，也就没有竞态


def main() -> None:
    """Run the command that the arguments name."""
    status, worker, memory = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    grace_s, argv = float(sys.argv[3]), sys.argv[5:]
    os.set_inheritable(status, False)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    libc.prctl(PR_SET_PDEATHSIG, NOW, 0, 0, 0)
    if os.getppid() != worker:  # 工作进程在上一行之前就死了
        os._exit(NOT_EXECUTABLE)
    launcher = os.getpid()
    leader = os.fork()
    if leader == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if os.getppid() == launcher:
            become(argv, memory, status)
        os._exit(NOT_EXECUTABLE)
    supervise(leader, grace_s, status)


def become(argv: list[str], memory: int, status: int) -> None:
    """Replace this process, a child of the launcher, by the command."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python 启动时忽略了它，exec 会传下去
    try:
        os.execv(argv[0], argv)  # noqa: S606 - 允许名单由调用者检查过
    except OSError as error:
        os.write(status, f"error {error.errno}\n".encode())


def supervise(leader: int, grace_s: float, status: int) -> None:
    """Wait for the command, end everything, report, exit."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # 管道只属于命令：它关上就是关上了
        os.dup2(nothing, stream)

    await_end(leader, grace_s)
    send(leader, signal.SIGKILL, group=True)  # 组长还没有收尸，组号不会属于别人
    code, left = end(leader)
    report = ([] if code is None else [f"code {code}"]) + [f"left {pid}" for pid in left]
    os.write(status, "".join(f"{line}\n" for line in report).encode()[:4096])
    os._exit(0)


def await_end(leader: int, grace_s: float) -> None:
    """Return when the leader exited (it is not reaped yet) or is to end at once."""
    deadline = float("inf")
    while True:
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is not None:
                if ended.si_pid == leader:
                    return
                os.waitpid(ended.si_pid, 0)  # 被遗弃的后代，随时收尸
        except ChildProcessError:
            return
        came = signal.sigtimedwait(AWAITED, max(min(deadline - time.monotonic(), LOOK_S), 0))
        if time.monotonic() >= deadline or (came is not None and came.si_signo == NOW):
            return
        if came is not None and came.si_signo == TERM:
            send(leader, TERM, group=True)
            deadline = min(deadline, time.monotonic() + grace_s)


def end(leader: int) -> tuple[int | None, list[int]]:
    """Kill and reap all descendants; return the leader's exit code (None: still there) and those that would not die."""
    code, deadline = None, time.monotonic() + KILL_WAIT_S
    while True:
        try:
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                code = os.waitstatus_to_exitcode(found[1]) if found[0] == leader else code
        except ChildProcessError:
            return code, []
        left = descendants()
        if time.monotonic() > deadline:
            return code, left
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def descendants() -> list[int]:
    """Return all living processes below this one."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - 启动要快，不引入 pathlib
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - 同上
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # 刚刚结束
        if state != "Z":
            children.setdefault(int(parent), []).append(int(name))
    found = children.get(os.getpid(), [])
    for pid in found:  # 边走边加：广度优先
        found.extend(children.get(pid, []))
    return found


def send(pid: int, number: int, *, group: bool = False) -> None:
    """Send a signal; what is gone or belongs to another user is left alone."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    main()
