"""Checks a command against the configuration, runs it, and turns its end into a result, a retry or the end."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import time
from pathlib import Path

import msgspec

from taskmill import Discard, Retry
from taskmill.plugin import Words, storable
from taskmill_shell import config as limits
from taskmill_shell import reasons
from taskmill_shell.config import ShellConfig
from taskmill_shell.group import Capture, ProcessGroup
from taskmill_shell.messages import Command, Output

_FOR_GOOD = frozenset(
    {
        errno.E2BIG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ENOEXEC,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
        errno.EISDIR,
    }
)


async def run(command: Command, config: ShellConfig, result_max_bytes: int = limits.RESULT_MAX_BYTES) -> Output:
    """Run `command` and return its output, at most `result_max_bytes` bytes of JSON.

    Discard if it is not allowed or can never be started; Retry if it exits with an unexpected code or takes too long. A cancel ends it and
    all its children: TERM, then KILL after the configured grace.
    """
    _check(command, config)
    if config.work_dir is not None:
        return await _run_in(config.work_dir, command, config, result_max_bytes)
    with tempfile.TemporaryDirectory(prefix="taskmill-shell-", ignore_cleanup_errors=True) as folder:
        return await _run_in(Path(folder), command, config, result_max_bytes)


def _check(command: Command, config: ShellConfig) -> None:
    program = command.argv[0]
    if program not in config.allow:
        raise Discard(reasons.NOT_ALLOWED(program=repr(program)))
    if not os.access(program, os.X_OK):
        raise Discard(reasons.NOT_EXECUTABLE(program=repr(program)))
    refused = sorted(set(command.env) - set(config.env_allow))
    if refused:
        raise Discard(reasons.VARIABLES(names=", ".join(refused)))
    if any("\x00" in text for text in (*command.argv, *command.env.values())):
        raise Discard(reasons.NUL)
    if command.timeout_s > config.timeout_max_s:
        raise Discard(reasons.TIMEOUT_ABOVE(limit=f"{config.timeout_max_s:g}"))


async def _run_in(folder: Path, command: Command, config: ShellConfig, result_max_bytes: int) -> Output:
    limit = min(command.max_output_bytes, config.output_max_bytes)
    stdout, stderr = Capture(limit), Capture(limit)
    started = time.monotonic()
    group, stdin = _start(folder, command, config)
    try:
        async with asyncio.timeout(command.timeout_s):
            ending = await group.communicate(stdin, stdout, stderr)
    except TimeoutError as error:
        facts = {"left": _left(group.ending.left), "tail": _tail(stderr)}
        raise Retry(reasons.NOT_DONE(seconds=f"{command.timeout_s:g}", **facts)) from error
    if ending.error:
        raise _not_started(OSError(ending.error, os.strerror(ending.error), command.argv[0]))
    if ending.code is None:
        raise Retry(reasons.NOT_IN_ORDER(left=_left(ending.left), tail=_tail(stderr)))
    if ending.code not in command.expected_exit_codes:
        raise Retry(reasons.EXIT_CODE(code=ending.code, left=_left(ending.left), tail=_tail(stderr)))
    result = Output(
        exit_code=ending.code,
        stdout="",
        stderr="",
        stdout_truncated=stdout.truncated,
        stderr_truncated=stderr.truncated,
        elapsed_ms=round((time.monotonic() - started) * 1_000),
        survivors=ending.left,
    )
    return _fill(result, stdout, stderr, result_max_bytes)


def _start(folder: Path, command: Command, config: ShellConfig) -> tuple[ProcessGroup, bytes]:
    memory = min(command.memory_bytes or config.memory_max_bytes, config.memory_max_bytes)
    try:
        stdin = (command.stdin or "").encode()  # 先编码：写不出的字符不该在命令启动之后才发现
        environment = _environment(command, config, folder)
        return ProcessGroup.start(
            command.argv, env=environment, cwd=folder, memory_bytes=memory, grace_s=config.kill_grace_s
        ), stdin
    except ValueError as error:
        raise Discard(reasons.NOT_STARTED(error=error)) from error
    except OSError as error:
        raise _not_started(error) from error


def _not_started(error: OSError) -> Retry | Discard:
    """参数过长、文件不对，重试也一样；内存、进程数、描述符不够，过一会儿就好。"""
    words = reasons.NOT_STARTED(error=f"{error.filename or ''} {error.strerror}".strip())
    return Discard(words) if error.errno in _FOR_GOOD else Retry(words)


def _fill(result: Output, stdout: Capture, stderr: Capture, max_bytes: int) -> Output:
    """命令已经做完：输出再怪也要存得下。两路各占一半，用不完的让给另一路。"""
    room = max_bytes - len(msgspec.json.encode(result))
    wanted = len(msgspec.json.encode(stdout.text))
    result.stderr, cut = storable(stderr.text, max(room // 2, room - wanted))
    result.stderr_truncated = result.stderr_truncated or cut
    result.stdout, cut = storable(stdout.text, room - len(msgspec.json.encode(result.stderr)))
    result.stdout_truncated = result.stdout_truncated or cut
    return result


def _left(pids: list[int]) -> Words:
    return reasons.LEFT(pids=pids) if pids else reasons.NOTHING


def _environment(command: Command, config: ShellConfig, folder: Path) -> dict[str, str]:
    """工作进程自己的变量（数据库密码等）一概不传，除非运维点名。"""
    inherited = {name: os.environ[name] for name in config.env_inherit if name in os.environ}
    return {"PATH": limits.PATH, "LANG": "C.UTF-8", "HOME": str(folder), **inherited, **command.env}


def _tail(capture: Capture) -> str:
    return storable(capture.text[-limits.REASON_MAX_CHARS :].strip(), limits.OUTPUT_DEFAULT_BYTES)[0]
