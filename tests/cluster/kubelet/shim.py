"""Become a container: `shim.py SPEC FD`, where SPEC is a JSON file. Run as a script by `process.py`, never imported.

`{"argv", "env", "cwd", "parent", "hostname", "root", "binds": [[source, read_only]], "mounts": [[source, target, read_only]],
"read_only_root", "passable": [folder], "user": [uid, gid]}` starts one; `{"argv", "env", "cwd", "parent", "user", "join": pid}` runs a command inside a running one (an exec probe).
The shim stays as the parent of the container's process 1, writes that process's id to file descriptor FD and ends with
its exit code (128 + signal if it was killed). Everything of the container ends with process 1, and process 1 with the shim.
"""

# 每个容器都要起一个，pathlib 的导入太贵；它就是用来 exec 的
# ruff: noqa: PTH101, PTH116, S103, PTH102, PTH103, PTH112, PTH120, PTH123, PTH211, S108, S606, T201

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1
SIGKILL = 9
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWPID = 0x00020000, 0x04000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# 这些目录容器里是另一份，宿主的挂载点不带进去
OWN = ("/proc", "/dev", "/sys", "/tmp", "/run", "/mnt")
LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    """Raise OSError if a call of libc failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, or raise OSError."""
    arguments = (text.encode() or None for text in (source, target, kind))
    checked(LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {source} on {target}")


def bind(source: str, target: str, *, read_only: bool) -> None:
    """Make `source`, a file or a folder, appear at `target`."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent ends."""
    checked(LIBC.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl")


def host_mounts() -> list[str]:
    """Return the mount points of the host that a container needs too: an overlay doesn't look below them."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        points = {line.split()[4] for line in lines}
    return sorted(point for point in points if point != "/" and not point.startswith(OWN))


def devices(root: str) -> None:
    """Give the container a /dev of its own, so that nothing is made in that of the host."""
    mount("tmpfs", f"{root}/dev", "tmpfs")
    for name in DEVICES:
        with suppress(FileNotFoundError), open(f"{root}/dev/{name}", "x"):
            bind(f"/dev/{name}", f"{root}/dev/{name}", read_only=False)
    os.mkdir(f"{root}/dev/shm")
    mount("tmpfs", f"{root}/dev/shm", "tmpfs")
    for name, target in (("fd", "/proc/self/fd"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(target, f"{root}/dev/{name}")


def file_system(spec: dict) -> None:
    """Enter a root that shows the host's files; writes go to memory and vanish with the container."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    handles = [os.open(source, os.O_PATH) for source, _, _ in spec["mounts"]]
    base = spec["root"]
    mount("tmpfs", base, "tmpfs")
    upper, work, root = f"{base}/upper", f"{base}/work", f"{base}/root"
    for folder in (upper, work, root):
        os.mkdir(folder)
    mount("overlay", root, "overlay", data=f"lowerdir=/,upperdir={upper},workdir={work}")
    mount("proc", f"{root}/proc", "proc")
    devices(root)
    for folder in ("tmp", "run"):
        mount("tmpfs", f"{root}/{folder}", "tmpfs")
    for point in host_mounts():
        with suppress(OSError):
            bind(point, root + point, read_only=True)
    for source, _ in spec["binds"]:
        os.makedirs(root + source, exist_ok=True)  # 检出的目录可能就在 /tmp 里，而容器的 /tmp 是空的
    for folder in spec["passable"]:
        open_way(root, folder)
    for source, read_only in spec["binds"]:
        bind(source, root + source, read_only=read_only)
    os.chroot(root)
    os.chdir("/")
    # 进了新根才建挂载点：/var/run 这样的绝对符号链接否则会指到宿主上
    for handle, (_, target, read_only) in zip(handles, spec["mounts"], strict=True):
        make_point(handle, target)
        bind(f"/proc/self/fd/{handle}", target, read_only=read_only)
        os.close(handle)
    if spec["read_only_root"]:
        mount("none", "/", flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def open_way(root: str, folder: str) -> None:
    """Let any user reach `folder`: the interpreter may live below /root. Only the container's own layer changes."""
    while folder not in ("", "/"):
        if os.access(root + folder, os.F_OK):  # 在要挂上的目录里面的，还不在
            mode = os.stat(root + folder).st_mode
            if mode & 0o055 != 0o055:
                os.chmod(root + folder, mode & 0o7777 | 0o055)
        folder = os.path.dirname(folder)


def make_point(handle: int, target: str) -> None:
    """Make the mount point at `target`, of the same sort as what will be mounted."""
    if os.path.isdir(f"/proc/self/fd/{handle}"):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass


def join(pid: int) -> None:
    """Enter the namespaces and the root of a running container."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH)
    process = os.pidfd_open(pid)
    checked(LIBC.setns(process, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS), "setns")
    os.fchdir(root)
    os.chroot(".")


def become(spec: dict) -> None:
    """In the child: finish the container and turn into its command."""
    die_with_parent()
    if "join" not in spec:
        file_system(spec)
        os.makedirs(spec["cwd"], exist_ok=True)
    os.closerange(3, 256)
    os.chdir(spec["cwd"])
    uid, gid = spec["user"]
    if uid or gid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        die_with_parent()  # 换用户会清除它
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])


def main(path: str, report: int) -> None:
    """Start what the file at `path` describes and end as it ends."""
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    die_with_parent()
    if os.getppid() != spec["parent"]:
        sys.exit(1)
    if "join" in spec:
        join(spec["join"])
    else:
        checked(LIBC.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID), "unshare")
        name = spec["hostname"].encode()
        checked(LIBC.sethostname(name, len(name)), "sethostname")
    pid = os.fork()
    if pid == 0:
        try:
            become(spec)
        except OSError as error:
            print(f"shim: {error}", file=sys.stderr, flush=True)
        os._exit(128)
    os.write(report, f"{pid}\n".encode())
    os.close(report)
    status = os.waitpid(pid, 0)[1]
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
