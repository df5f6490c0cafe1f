"""As the first process of a container, where SIGTERM has no default action."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.command import TASKMILL
from tests.support.waiting import eventually

END_S = 20.0


@pytest.mark.anyio
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare for a PID namespace"
)
async def test_a_command_that_has_not_taken_over_signals_ends_on_sigterm(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # 接受连接却从不回答的数据库
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", TASKMILL, "key", "list"],
            cwd=tmp_path,
            env={**os.environ, "TASKMILL_DATABASE_URL": url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
                os.kill(child, signal.SIGTERM)
                await eventually(lambda: process.poll() is not None, timeout=END_S)
                assert process.returncode == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()
