"""Schemathesis finds nothing: generated requests, right and wrong, against a served application."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from taskmill.api.app import create_app
from taskmill.api.server import serve
from tests.support import api

TIME_S = 900
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(TIME_S + 60)]
EXAMPLES = "10"
# 说明里写不下的规则（cron 的语法、二选一的字段）会拒绝合乎模式的数据
EXCLUDED = "positive_data_acceptance"


async def test_schemathesis_finds_nothing(database_url: str, broker_url: str, tmp_path: Path) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    ports: list[int] = []
    async with api.opened(database_url, broker_url) as platform:
        key = await platform.keys.create("schemathesis")
        serving = asyncio.create_task(
            serve(create_app(platform), "127.0.0.1", 0, stop=stop, ready=ready, bound=ports.append)
        )
        await ready.wait()
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"http://127.0.0.1:{ports[0]}/schema/openapi.json",
            "--header",
            f"Authorization: Bearer {key.secret}",
            "--phases",
            "coverage,fuzzing,stateful",
            "--max-examples",
            EXAMPLES,
            "--exclude-checks",
            EXCLUDED,
            "--no-color",
            "--continue-on-failure",
            *(["--generation-deterministic"] if os.environ.get("CI") == "true" else []),
        ]
        # 被测的是本进程里的接口：客户端不必也被覆盖率跟踪，那要慢好几倍
        environment = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
        try:
            done = await anyio.to_thread.run_sync(
                lambda: subprocess.run(
                    command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIME_S, check=False
                )
            )
        finally:
            stop.set()
            await serving
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
