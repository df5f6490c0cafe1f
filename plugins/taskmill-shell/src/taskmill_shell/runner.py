"""Checks a command against the configuration, runs it, and turns its end into a result, a retry or the end."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from taskmill import Discard, Retry
from taskmill_shell import config as limits
from taskmill_shell.config import ShellConfig
from taskmill_shell.group import Capture, ProcessGroup
from taskmill_shell.messages import Command, Output


async def run(command: Command, config: ShellConfig) -> Output:
    """Run `command` and return its output.

    Discard if it is not allowed; Retry if it exits with an unexpected code or takes too long. A cancel ends it and
    all its children: TERM, then KILL after the configured grace.
    """
    _check(command, config)
    if config.work_dir is not None:
        return await _run_in(config.work_dir, command, config)
    with tempfile.TemporaryDirectory(prefix="taskmill-shell-", ignore_cleanup_errors=True) as folder:
        return await _run_in(Path(folder), command, config)


def _check(command: Command, config: ShellConfig) -> None:
    program = command.argv[0]
    if program not in config.allow:
        raise Discard(f"{program!r} is not in TASKMILL_PLUGIN_SHELL_ALLOW / 不在允许名单里")
    if not os.access(program, os.X_OK):
        raise Discard(f"{program!r} cannot be executed here / 此处无法执行")
    refused = sorted(set(command.env) - set(config.env_allow))
    if refused:
        raise Discard(f"variables not in TASKMILL_PLUGIN_SHELL_ENV_ALLOW / 不允许的环境变量: {', '.join(refused)}")
    if any("\x00" in text for text in (*command.argv, *command.env.values())):
        raise Discard("NUL in an argument or a variable / 参数或环境变量含 NUL")
    if command.timeout_s > config.timeout_max_s:
        raise Discard(f"timeout_s is above {config.timeout_max_s:g} / timeout_s 超过上限")


async def _run_in(folder: Path, command: Command, config: ShellConfig) -> Output:
    limit = min(command.max_output_bytes, config.output_max_bytes)
    stdout, stderr = Capture(limit), Capture(limit)
    memory = min(command.memory_bytes or config.memory_max_bytes, config.memory_max_bytes)
    started = time.monotonic()
    group = ProcessGroup.start(
        command.argv, env=_environment(command, config, folder), cwd=folder, memory_bytes=memory, grace_s=config.kill_grace_s
    )
    try:
        async with asyncio.timeout(command.timeout_s):
            code = await group.communicate((command.stdin or "").encode(), stdout, stderr)
    except TimeoutError as error:
        raise Retry(f"not done within {command.timeout_s:g} s / {command.timeout_s:g} 秒内未完成: {_tail(stderr)}") from error
    if code not in command.expected_exit_codes:
        raise Retry(f"exit code {code} / 退出码 {code}: {_tail(stderr)}")
    return Output(
        exit_code=code, stdout=stdout.text, stderr=stderr.text, stdout_truncated=stdout.truncated,
        stderr_truncated=stderr.truncated, elapsed_ms=round((time.monotonic() - started) * 1_000),
    )


def _environment(command: Command, config: ShellConfig, folder: Path) -> dict[str, str]:
    """工作进程自己的变量（数据库密码等）一概不传，除非运维点名。"""
    inherited = {name: os.environ[name] for name in config.env_inherit if name in os.environ}
    return {"PATH": limits.PATH, "LANG": "C.UTF-8", "HOME": str(folder), **inherited, **command.env}


def _tail(capture: Capture) -> str:
    return capture.text[-limits.REASON_MAX_CHARS :].strip()
