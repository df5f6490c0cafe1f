"""Args and result of `shell.run`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from taskmill_shell import config as limits


class Command(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One command, without a shell: `argv[0]` is an allowed absolute path, the rest its arguments as they are.

    `timeout_s` seconds; of each stream the first `max_output_bytes` bytes are kept; `memory_bytes` limits the
    address space of every process.
    """

    argv: Annotated[list[str], msgspec.Meta(min_length=1, max_length=limits.ARGUMENTS_MAX)]
    stdin: str | None = None
    env: dict[str, str] = {}
    expected_exit_codes: Annotated[list[int], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: [0])
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = limits.TIMEOUT_DEFAULT_S
    max_output_bytes: Annotated[int, msgspec.Meta(ge=0)] = limits.OUTPUT_DEFAULT_BYTES
    memory_bytes: Annotated[int, msgspec.Meta(ge=limits.MEMORY_MIN_BYTES)] | None = None


class Output(msgspec.Struct, kw_only=True):
    """How the command ended; a negative `exit_code` is the signal that killed it; `elapsed_ms` milliseconds.

    `survivors` are processes that it left behind and that could not be killed: those of another user (set-uid).
    """

    exit_code: int
    stdout: str
    stderr: str
    stdout_truncated: bool
    stderr_truncated: bool
    elapsed_ms: int
    survivors: list[int] = []
