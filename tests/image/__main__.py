"""Install what is missing (Debian, as root), start an engine, build the images and run the tests on them; arguments go to pytest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.image import build
from tests.image.engine import DOCKER, DOCKERD, MARK, PACKAGE, Engine

TESTS = "tests/image"
POLICY = Path("/usr/sbin/policy-rc.d")
TOOLS = {str(DOCKER): PACKAGE, str(DOCKERD): PACKAGE, "debootstrap": "debootstrap", "ip": "iproute2"}


def main(arguments: Sequence[str]) -> int:
    """Return the exit code of pytest. The engine and all it holds end with this process."""
    if os.geteuid() != 0:
        sys.stderr.write("a Docker engine of its own needs root\n")
        return 1
    _install()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # 走完 with，什么都不留下
    with tempfile.TemporaryDirectory(prefix="taskmill-image-") as folder, Engine(Path(folder)) as engine:
        build.all_images(engine.docker)
        return _tested(arguments, {**os.environ, **engine.docker.environment, MARK: folder})


def _tested(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """跑测试；自己被叫停时，等它收完尾。"""
    child = subprocess.Popen([sys.executable, "-m", "pytest", TESTS, *arguments], env=environment)
    try:
        return child.wait()
    except KeyboardInterrupt:  # 终端已经给了它同样的信号
        return child.wait()
    except SystemExit:
        child.send_signal(signal.SIGINT)
        child.wait()
        raise


def _install() -> None:
    """装上缺的；装上的引擎不许自己启动：它会改这台机器的转发规则。"""
    if lacking := sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None}):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        given = POLICY.exists()
        if not given:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
        try:
            subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *lacking]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        finally:
            if not given:
                POLICY.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
