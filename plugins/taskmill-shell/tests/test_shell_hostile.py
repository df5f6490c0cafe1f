"""Commands that try to stay, that say odd things, or that cannot be started at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
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
CONFIG = ShellConfig(allow=[SH, PYTHON, "/bin/cat"], kill_grace_s=0.2, env_allow=["COLOUR"])
KIB = 1024
# 后代用 setsid 离开进程组，或者两次 fork 成为守护进程；都不理会 TERM
LEAVE = "import os,signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
STAY = "open('pids','a').write(f'{os.getpid()}\\n'); time.sleep(300)"
BY_SETSID = f"{LEAVE}if os.fork()==0:\n os.setsid(); {STAY}\n"
DAEMON = f"{LEAVE}if os.fork()==0:\n os.setsid()\n if os.fork()==0:\n  os.setsid(); {STAY}\n os._exit(0)\n"
WAIT = "while not os.path.exists('pids'): time.sleep(0.01)\n"


async def run(context: TaskContext, *argv: str, config: ShellConfig = CONFIG, **args: Any) -> Output:
    return await run_task(config)(Command(argv=list(argv), **args), context)


async def until(predicate: Callable[[], bool], why: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()  # 僵尸也算：要收尸


def zombies() -> list[str]:
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            found.append((folder / "stat").read_text(encoding="utf-8", errors="replace") if folder.name.isdigit() else "")
    return [stat for stat in found if stat.rpartition(")")[2].split()[:2] == ["Z", str(os.getpid())]]


def noted(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text(encoding="utf-8").split()]


@pytest.fixture
def here(tmp_path: Path) -> ShellConfig:
    return msgspec.structs.replace(CONFIG, work_dir=tmp_path)


@pytest.mark.parametrize("code", [BY_SETSID, DAEMON, BY_SETSID + DAEMON], ids=["setsid", "daemon", "both"])
@pytest.mark.parametrize("ending", ["success", "failure", "timeout", "cancel"])
async def test_descendants_that_left_the_group_are_killed_and_reaped(
    context: TaskContext, here: ShellConfig, tmp_path: Path, code: str, ending: str
) -> None:
    last = {"success": "print('done')", "failure": "os._exit(3)"}.get(ending, "time.sleep(300)")
    task = asyncio.ensure_future(
        run(context, PYTHON, "-c", f"{code}{WAIT}{last}", config=here, timeout_s=2 if ending == "timeout" else 60)
    )
    await until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"), "nothing started")
    if ending == "cancel":
        task.cancel()
    outcome = await asyncio.gather(task, return_exceptions=True)
    kinds = {"success": Output, "failure": Retry, "timeout": Retry, "cancel": asyncio.CancelledError}
    assert isinstance(outcome[0], kinds[ending])
    assert [pid for pid in noted(tmp_path) if alive(pid)] == []


async def test_orphans_are_reaped_while_the_command_runs(context: TaskContext, here: ShellConfig) -> None:
    code = (
        "import os,time\nfor _ in range(20):\n pid=os.fork()\n if pid==0:\n  if os.fork()==0: os._exit(0)\n  time.sleep(0.01); os._exit(0)\n os.waitpid(pid,0)\n"
        "time.sleep(0.3)\nzombies=0\nfor name in os.listdir('/proc'):\n"
        " try:\n  text=open(f'/proc/{name}/stat').read().rpartition(')')[2].split()\n  zombies += text[0]=='Z' and int(text[1])==os.getppid()\n except Exception: pass\nprint(zombies)"
    )
    assert (await run(context, PYTHON, "-c", code, config=here)).stdout == "0\n"


async def test_everything_dies_with_the_worker(tmp_path: Path) -> None:
    source = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom taskmill_shell.config import ShellConfig\n"
        "from taskmill_shell.messages import Command\nfrom taskmill_shell.runner import run\n"
        "config = ShellConfig(allow=[sys.executable], work_dir=Path(sys.argv[1]))\n"
        "asyncio.run(run(Command(argv=[sys.executable, '-c', sys.argv[2]]), config))\n"
    )
    worker = subprocess.Popen([PYTHON, "-c", source, str(tmp_path), f"{DAEMON}{WAIT}{STAY}"])
    try:
        await until(lambda: (tmp_path / "pids").exists() and len(noted(tmp_path)) == 2, "the command did not start")
    finally:
        worker.kill()
        worker.wait()
    await until(lambda: not any(alive(pid) for pid in noted(tmp_path)), "something outlived the worker")


async def test_a_launcher_that_is_killed_takes_the_command_along(
    context: TaskContext, here: ShellConfig, tmp_path: Path
) -> None:
    script = "echo $$ > pids; kill -9 $PPID; while :; do sleep 0.05; done"
    with pytest.raises(Retry, match="did not end in order"):
        await run(context, SH, "-c", script, config=here)
    await until(lambda: not alive(noted(tmp_path)[0]), "the command outlived its launcher")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to become another user")
async def test_a_process_of_another_user_is_told_and_leaks_nothing(tmp_path: Path) -> None:
    """What a set-uid program is to a worker without root: here the worker lacks the right to kill strangers."""
    source = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom taskmill_shell.config import ShellConfig\n"
        "from taskmill_shell.messages import Command\nfrom taskmill_shell.runner import run\n"
        "config = ShellConfig(allow=[sys.argv[1], '/bin/sh'], work_dir=Path(sys.argv[2]), kill_grace_s=0.1)\n"
        "other = [sys.argv[1], '--reuid=65534', '--clear-groups', '/bin/sh', '-c', 'sleep 301']\n"
        "async def main():\n"
        " for _ in range(3):\n"
        "  try: await run(Command(argv=other, timeout_s=1), config)\n"
        "  except Exception as error: print(type(error).__name__, error, flush=True)\n"
        "  print(len(os.listdir('/proc/self/fd')), flush=True)\n"
        " done = await run(Command(argv=['/bin/sh', '-c', ' '.join(other[:3]) + ' sleep 301 >&- 2>&- & sleep 0.5; echo done']), config)\n"
        " print(done.stdout.strip(), len(done.survivors))\n"
        "asyncio.run(main())\n"
    )
    setpriv = shutil.which("setpriv")
    command = [setpriv, "--bounding-set=-kill", PYTHON, "-c", source, setpriv, str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().rstrip(b"\0").endswith(b"sleep\x00301"):
                os.kill(int(folder.name), signal.SIGKILL)
    lines = done.stdout.splitlines()
    assert len(lines) == 7, done.stderr
    assert all(line.startswith("Retry not done within 1 s") and "could not be killed" in line for line in lines[:6:2])
    assert (len(set(lines[1:6:2])), lines[6]) == (1, "done 1")


@pytest.mark.parametrize("text", ["\\001", '"', "\\000", "\\377"])
@pytest.mark.parametrize("streams", [">&1", ">&2", "| tee /dev/stderr"])
@pytest.mark.parametrize("most", [1024 * KIB, 4 * KIB])
async def test_output_of_a_command_that_succeeded_always_fits(
    context: TaskContext, text: str, streams: str, most: int
) -> None:
    context.result_max_bytes = most
    config = msgspec.structs.replace(CONFIG, output_max_bytes=1024 * KIB)
    script = f"head -c {600 * KIB} /dev/zero | tr '\\0' '{text}' {streams}"
    result = await run(context, SH, "-c", script, config=config, max_output_bytes=1024 * KIB)
    encoded = msgspec.json.encode(result)
    assert len(encoded) <= most
    assert b"\\u0000" not in encoded
    assert len(encoded) > most - 200 or not (result.stdout_truncated or result.stderr_truncated)


async def test_what_one_stream_does_not_need_the_other_gets(context: TaskContext) -> None:
    context.result_max_bytes = 10_000
    result = await run(context, SH, "-c", "head -c 9000 /dev/zero | tr '\\0' a >&2; echo done", max_output_bytes=20_000)
    assert (result.stdout, result.stdout_truncated, len(result.stderr), result.stderr_truncated) == (
        "done\n",
        False,
        9_000,
        False,
    )


def executable(folder: Path, content: bytes) -> str:
    path = folder / "program"
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"argv": [SH, "-c", "true", "x" * 200_000]}, "too long"),
        ({"argv": [SH, *["x" * 100_000] * 100]}, "too long"),
        ({"argv": [SH], "env": {"COLOUR": "x" * 200_000}}, "too long"),
        ({"argv": [SH], "env": {"COLOUR": "a\0b"}}, "NUL"),
        ({"argv": [SH, "\ud800"]}, "cannot be started"),
        ({"argv": [SH], "env": {"COLOUR": "\ud800"}}, "cannot be started"),
        ({"argv": ["/bin/cat"], "stdin": "\ud800"}, "cannot be started"),
    ],
    ids=["long argument", "many arguments", "long variable", "NUL", "odd argument", "odd variable", "odd input"],
)
async def test_what_can_never_start_is_discarded(context: TaskContext, args: dict[str, Any], words: str) -> None:
    with pytest.raises(Discard, match=f"(?i){words}"):
        await run_task(CONFIG)(Command(**args), context)


@pytest.mark.parametrize("content", [b"no program", b"\x7fELF nonsense", b"#!/no/such/interpreter\n", b""])
async def test_what_is_no_program_is_discarded(context: TaskContext, tmp_path: Path, content: bytes) -> None:
    program = executable(tmp_path, content)
    with pytest.raises(Discard, match="cannot be started"):
        await run(context, program, config=ShellConfig(allow=[program]))


@pytest.mark.parametrize("folder", ["missing", "file", "file/below"])
async def test_a_bad_work_dir_is_discarded_with_its_name(context: TaskContext, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    config = msgspec.structs.replace(CONFIG, work_dir=tmp_path / folder)
    with pytest.raises(Discard, match=f"cannot be started.*{folder}"):
        await run(context, SH, "-c", "true", config=config)


async def test_no_descriptors_or_zombies_are_left(context: TaskContext, here: ShellConfig) -> None:
    async def once() -> None:
        for args in (
            {"argv": [SH, "-c", "true"]},
            {"argv": [SH, "x" * 200_000]},
            {"argv": [SH, "-c", "sleep 300"], "timeout_s": 0.2},
        ):
            await asyncio.gather(run_task(here)(Command(**args), context), return_exceptions=True)

    await once()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        await once()
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before, "descriptors leak")
    assert zombies() == []
