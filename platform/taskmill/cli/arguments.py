"""How words on the command line become values of the API: JSON, durations, times."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from taskmill import strict_json
from taskmill.cli import constants as c
from taskmill.cli import phrases
from taskmill.cli.failure import OptionError
from taskmill.errors import Code, InputError
from taskmill.words import Words

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def usage(reason: Words) -> InputError:
    """Return the error for something wrong on the command line; its hint is the help of the command that runs."""
    return OptionError(Code.USAGE, reason=reason)


def unreadable(file: str, error: OSError | ValueError) -> Words:
    """Return why a file cannot be read."""
    match error:
        case FileNotFoundError():
            return phrases.NO_FILE(file=file)
        case PermissionError():
            return phrases.NO_ACCESS(file=file)
        case IsADirectoryError():
            return phrases.A_FOLDER(file=file)
        case _:
            return phrases.FILE_UNREADABLE(file=file, error=error)


def compact(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that were given: without those that are None."""
    return {name: value for name, value in values.items() if value is not None}


def parse_json(text: str | bytes, where: str) -> Any:
    """Return the JSON that a text holds, by the same definition as the API's; `where` names it in the error."""
    try:
        return strict_json.decode(text)
    except strict_json.NotJsonError as error:
        raise usage(Words(zh=f"{where}：{error.words.zh}", en=f"{where}: {error.words.en}")) from error


def read_args(text: str | None) -> Any:
    """Return args given as JSON, as `@file`, or as `-` for standard input; None if not given."""
    if text is None:
        return None
    if text == "-":
        return parse_json(sys.stdin.buffer.read(), "--args -")
    if not text.startswith("@"):
        return parse_json(text, "--args")
    try:
        content = Path(text[1:]).read_bytes()
    except (OSError, ValueError) as error:  # ValueError：路径里有 NUL
        raise usage(unreadable(f"--args {text}", error)) from error
    return parse_json(content, f"--args {text}")


def read_tasks(file: Path) -> list[Any]:
    """Return the tasks of a file, `-` for standard input: one JSON array, or one JSON object per line."""
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise usage(unreadable(str(file), error)) from error
    if raw.lstrip().startswith(b"["):
        return parse_json(raw, str(file))
    return [parse_json(line, f"{file}:{number}") for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]


def seconds(text: str | None, where: str) -> float | None:
    """Return a duration such as `90`, `500ms`, `5m`, `2h` or `1d` in seconds, at most DURATION_MAX_S; None stays None."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise usage(phrases.NOT_A_DURATION(where=where, value=text))
    length = float(found["number"]) * _UNITS[found["unit"] or "s"]
    if length > c.DURATION_MAX_S:
        raise usage(phrases.TOO_LONG(where=where, limit=f"{c.DURATION_MAX_S / _UNITS['d']:.0f}d"))
    return length


def timestamp(text: str | None, where: str) -> str | None:
    """Return a time as the API takes it: ISO 8601; without a zone it is this machine's."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise usage(phrases.NOT_A_TIME(where=where, value=text)) from error
