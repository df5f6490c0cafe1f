"""A Docker engine of its own: socket, data and bridge are nobody else's and gone at the end; the machine's rules for packets stay as they are.

Nothing is forwarded, so containers on the bridge reach each other and this machine, and no more; builds use the network of the machine.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from tests.support.children import tied

DOCKER: Final = Path("/usr/bin/docker")  # Debian 的，与引擎同一个版本，自带 BuildKit 的客户端
DOCKERD: Final = Path("/usr/sbin/dockerd")
PACKAGE: Final = "docker.io"
MARK: Final = "TASKMILL_TEST_IMAGE"  # 测试凭它知道有引擎可用，目录在哪里
CGROUPS: Final = Path("/sys/fs/cgroup")
GATEWAY: Final = "10.231.0.1/24"
POOL: Final = "base=10.231.128.0/17,size=24"  # compose 自己的网络从这里取
START_S: Final = 60.0
STOP_S: Final = 60.0
POLL_S: Final = 0.1


class Docker:
    """The command line of the engine whose folder is `root`; `environment` is what other clients need."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            "DOCKER_HOST": f"unix://{root / 'docker.sock'}",
            "DOCKER_CONFIG": str(root / "config"),  # 没有这个目录：不用这台机器上谁的登录与插件
            "DOCKER_BUILDKIT": "1",
        }

    def __call__(self, *arguments: str | Path) -> str:
        """Run `docker` and return what it prints. Raises CalledProcessError."""
        done = self.tried(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def tried(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `docker`, whatever comes of it."""
        command = [str(part) for part in (DOCKER, *arguments)]
        return subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False)


class Engine:
    """`dockerd` with its data in `root`."""

    def __init__(self, root: Path) -> None:
        self.docker = Docker(root)
        self._root = root
        self._name = f"mill{secrets.token_hex(4)}"  # 网桥的，控制组的

    def __enter__(self) -> Self:
        _run("ip", "link", "add", self._name, "type", "bridge")
        try:
            _run("ip", "address", "add", GATEWAY, "dev", self._name)
            _run("ip", "link", "set", self._name, "up")
            with (self._root / "dockerd.log").open("w") as log:
                self._process = subprocess.Popen(
                    tied(*self._command(), death=signal.SIGTERM),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if hasattr(self, "_process"):
            if found := self.docker.tried("ps", "--all", "--quiet").stdout.split():
                self.docker.tried("rm", "--force", "--volumes", *found)
            self.docker.tried("network", "prune", "--force")
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._leave_nothing()

    def _leave_nothing(self) -> None:
        """引擎停下时留着网桥、控制组，与主机网络的名字空间。"""
        subprocess.run(["ip", "link", "delete", self._name], check=False)
        for place in reversed(mounts_below(self._root)):
            subprocess.run(["umount", "--lazy", place], check=False)
        for top in (CGROUPS / self._name, *CGROUPS.glob(f"*/{self._name}")):
            for folder, _, _ in os.walk(top, topdown=False):
                Path(folder).rmdir()

    def _command(self) -> list[str]:
        return [
            str(DOCKERD),
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            f"--bridge={self._name}",
            f"--cgroup-parent=/{self._name}",
            f"--default-address-pool={POOL}",
            f"--host={self.docker.environment['DOCKER_HOST']}",
            f"--data-root={self._root / 'data'}",
            f"--exec-root={self._root / 'exec'}",
            f"--pidfile={self._root / 'dockerd.pid'}",
            "--oom-score-adjust=0",  # 默认的负值要 CAP_SYS_RESOURCE，不是每个 root 都有
            "--shutdown-timeout=5",
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while self.docker.tried("version").returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd does not answer:\n{(self._root / 'dockerd.log').read_text()[-4000:]}")
            time.sleep(POLL_S)


def mounts_below(folder: Path) -> list[str]:
    """Return the places below a folder where something is mounted, the outer ones first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in places if Path(place).is_relative_to(folder)]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
