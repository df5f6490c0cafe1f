"""The first process of a node's namespaces: mounts, a network, then the command; it reaps whatever is left to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.cluster.node import cgroups, programs

MARK: Final = "TASKMILL_TEST_NODE"  # 里面的测试凭它知道自己在里面
BRIDGE, NODE_IP, PODS = "cni0", "10.244.0.1", "10.244.0.0/24"
DNS_IP: Final = "10.96.0.10"
# 它不在用户名字空间里，写不成就不启动
KUBELET_WANTS: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def entered() -> bool:
    """Return whether this process is inside."""
    return MARK in os.environ


def main(scratch: Path, command: Sequence[str]) -> int:
    """Prepare, run the command, and return its exit code when it is over."""
    hierarchies = cgroups.hierarchies()
    _mount_groups(hierarchies)
    _mount_scratch(scratch)
    _guard_kernel(scratch)
    _run("mount", "--make-rshared", "/")  # kubelet 要求；放在最后，免得自己的挂载传成两份
    _network()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_to_the_command)
    path = f"{programs.folder()}:{os.environ['PATH']}"  # containerd 在那里找它的垫片
    child = subprocess.Popen(command, env={**os.environ, "PATH": path, MARK: str(scratch), "TMPDIR": str(scratch)})
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


def _leave_to_the_command(_number: int, _frame: FrameType | None) -> None:
    """命令自己会收到；不用 SIG_IGN，那个会传给它。"""


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _mount_groups(hierarchies: Sequence[cgroups.Hierarchy]) -> None:
    """在新的名字空间里重新挂上，根就是自己的组。"""
    root = Path("/sys/fs/cgroup")
    _run("umount", "--recursive", "--lazy", str(root))
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root))
    for each in hierarchies:
        (root / each.name).mkdir()
        _run("mount", "-t", "cgroup", "-o", each.options, "cgroup", str(root / each.name))


def _mount_scratch(scratch: Path) -> None:
    """容器运行时写死的目录，写到用完就扔的地方。"""
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for place in ("lib", "log"):
        upper, work = scratch / f"upper-{place}", scratch / f"work-{place}"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir=/var/{place},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "-o", options, "overlay", f"/var/{place}")


def _guard_kernel(scratch: Path) -> None:
    """Kubelet 想改整台机器的内核参数：让它读到它要的值，写只能写自己网络的。"""
    for name, value in KUBELET_WANTS.items():
        file = scratch / name.replace("/", ".")
        file.write_text(f"{value}\n")
        _run("mount", "--bind", str(file), f"/proc/sys/{name}")
    for place, mode in (("/proc/sys", "ro"), ("/proc/sys/net", "rw")):
        _run("mount", "--rbind", place, place)
        _run("mount", "-o", f"remount,bind,{mode}", place)


def _network() -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{DNS_IP}/32", "dev", "lo")
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "address", "add", f"{NODE_IP}/24", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    _run("ip", "route", "add", "default", "dev", BRIDGE)  # 外面没有路；服务的地址要先有路，才轮到 kube-proxy 改写
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
