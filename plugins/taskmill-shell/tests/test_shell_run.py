"""`shell.run` with real processes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskmill import Discard, Retry, TaskContext
from taskmill_shell.config import ShellConfig
from taskmill_shell.messages import Command, Output
from taskmill_shell.plugin import run_task

pytestmark = pytest.mark.anyio
SH, PYTHON = "/bin/sh", sys.executable
CONFIG = ShellConfig(allow=[SH, PYTHON, "/bin/cat", "/etc/passwd"], kill_grace_s=5, env_allow=["COLOUR"])
STUBBORN = "trap '' TERM; echo up > up; while :; do sleep 0.05; done"


async def run(context: TaskContext, *argv: str, config: ShellConfig = CONFIG, **args: Any) -> Output:
    return await run_task(config)(Command(argv=list(argv), **args), context)


async def sh(context: TaskContext, script: str, **options: Any) -> Output:
    return await run(context, SH, "-c", script, **options)


async def until(predicate: Callable[[], bool], why: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # 打开之后、读之前它没了
        return False
    return state != "Z"


async def test_output_and_exit_code(context: TaskContext) -> None:
    result = await sh(context, "echo out; echo err >&2; exit 3", expected_exit_codes=[0, 3])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert not result.stdout_truncated
    assert msgspec.json.encode(result)


async def test_arguments_are_never_interpreted(context: TaskContext) -> None:
    result = await run(context, SH, "-c", 'printf "%s|" "$@"', "sh", "$(id)", "; ls", "*", "")
    assert result.stdout == "$(id)|; ls|*||"


@pytest.mark.parametrize("size", [0, 5, 1_000_000])
async def test_stdin(context: TaskContext, size: int) -> None:
    result = await run(context, "/bin/cat", stdin="x" * size, max_output_bytes=100)
    assert (result.stdout, result.stdout_truncated) == ("x" * min(size, 100), size > 100)


async def test_stdin_that_nobody_reads(context: TaskContext) -> None:
    assert (await sh(context, "exec 0<&-; echo done", stdin="x" * 1_000_000)).stdout == "done\n"


async def test_output_is_capped_but_drained(context: TaskContext) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' a; head -c 3000000 /dev/zero >&2"
    result = await sh(context, script, max_output_bytes=10)
    assert (result.stdout, result.stderr) == ("a" * 10, "\ufffd" * 10)
    assert result.stdout_truncated
    assert result.stderr_truncated


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"argv": ["/bin/ls"]}, "SHELL_ALLOW"),
        ({"argv": ["sh", "-c", "id"]}, "SHELL_ALLOW"),
        ({"argv": ["/bin/../bin/sh"]}, "SHELL_ALLOW"),
        ({"argv": ["/etc/passwd"]}, "cannot be executed"),
        ({"argv": [SH], "env": {"LD_PRELOAD": "x"}}, "LD_PRELOAD"),
        ({"argv": [SH, "a\x00b"]}, "NUL"),
        ({"argv": [SH], "timeout_s": 1e6}, "timeout_s"),
    ],
)
async def test_refused(context: TaskContext, args: dict[str, Any], words: str) -> None:
    with pytest.raises(Discard, match=words):
        await run_task(CONFIG)(Command(**args), context)


async def test_nothing_is_allowed_by_default(context: TaskContext) -> None:
    with pytest.raises(Discard, match="SHELL_ALLOW"):
        await run(context, SH, config=ShellConfig())


async def test_environment_is_clean(context: TaskContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMILL_DATABASE_URL", "geheim")
    monkeypatch.setenv("REGION", "north")
    config = msgspec.structs.replace(CONFIG, env_inherit=["REGION", "NOT_THERE"])
    names = set((await sh(context, "env", config=config, env={"COLOUR": "red"})).stdout.split())
    assert {"REGION=north", "COLOUR=red", "LANG=C.UTF-8"} <= names
    assert "geheim" not in str(names)


async def test_work_dir(context: TaskContext, tmp_path: Path) -> None:
    first, second = [(await sh(context, "pwd")).stdout.strip() for _ in range(2)]
    assert first != second
    assert not Path(first).exists()
    config = msgspec.structs.replace(CONFIG, work_dir=tmp_path)
    assert (await sh(context, "pwd", config=config)).stdout.strip() == str(tmp_path)


async def test_unexpected_exit_code_is_retried_with_the_end_of_stderr(context: TaskContext) -> None:
    with pytest.raises(Retry, match=r"exit code 2.*no luck"):
        await sh(context, "echo no luck >&2; exit 2")
    assert (await sh(context, "kill -9 $$", expected_exit_codes=[-9])).exit_code == -signal.SIGKILL


async def test_memory_limit(context: TaskContext) -> None:
    with pytest.raises(Retry, match="MemoryError"):
        await run(context, PYTHON, "-c", "bytearray(600_000_000)", memory_bytes=256 * 1024 * 1024)
    assert (await run(context, PYTHON, "-c", "bytearray(600_000_000)")).exit_code == 0


async def test_timeout_kills_the_group_even_if_it_ignores_term(context: TaskContext, tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, work_dir=tmp_path, kill_grace_s=0.05)
    script = f"({STUBBORN}) & echo $! > child; {STUBBORN}"
    with pytest.raises(Retry, match="not done within"):
        await sh(context, script, config=config, timeout_s=1)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    await until(lambda: not alive(child), "the child outlived its group")


async def test_cancel_sends_term_first(context: TaskContext, tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, work_dir=tmp_path)
    script = "trap 'echo bye > bye; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done"
    task = asyncio.ensure_future(sh(context, script, config=config))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", "the command did not start")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "bye").read_text() == "bye\n"
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_background_process_neither_survives_nor_delays(context: TaskContext, tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, work_dir=tmp_path)
    result = await sh(context, "sleep 300 & echo $! > pid; echo done", config=config)
    assert (result.stdout, result.elapsed_ms < 30_000) == ("done\n", True)
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: not alive(pid), "the background process survived")


async def test_command_dies_with_the_worker(tmp_path: Path) -> None:
    """The worker is a real process that is killed without a chance to clean up."""
    source = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom taskmill_shell.config import ShellConfig\n"
        "from taskmill_shell.messages import Command\nfrom taskmill_shell.runner import run\n"
        "config = ShellConfig(allow=['/bin/sh'], work_dir=Path(sys.argv[1]))\n"
        "asyncio.run(run(Command(argv=['/bin/sh', '-c', 'echo $$ > pid; while :; do sleep 0.05; done']), config))\n"
    )
    worker = subprocess.Popen([PYTHON, "-c", source, str(tmp_path)])
    try:
        pid_file = tmp_path / "pid"
        await until(lambda: pid_file.exists() and pid_file.read_text() != "", "the command did not start")
    finally:
        worker.kill()
        worker.wait()
    await until(lambda: not alive(int(pid_file.read_text())), "the command outlived its worker")


async def test_no_descriptors_leak(context: TaskContext) -> None:
    await sh(context, "true")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        await sh(context, "true")
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before, "descriptors leak")


def test_allow_takes_absolute_paths_only() -> None:
    with pytest.raises(ValueError, match="absolute"):
        ShellConfig(allow=["sh"])
