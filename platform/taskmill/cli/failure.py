"""How the command line tells an error: code, words in the chosen language, one hint; all on standard error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli.language import words
from taskmill.cli.output import say
from taskmill.errors import ERRORS, Code, InputError, TaskmillError
from taskmill.words import Words

# 其余退出码写在 errors.py 的表里：2 用法、3 不存在、4 被拒绝、5 连接不上
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_PARTIAL = 6  # 一批里有的成了，有的没成
EXIT_TIMEOUT = 124  # 与 timeout(1) 相同
EXIT_INTERRUPTED = 130  # 128 + SIGINT
_BY_STATUS = {404: 3, 401: 4, 403: 4, 409: 4, 502: 5, 503: 5, 504: 5}
_FIELD = re.compile(r"(?P<name>\w+)(?P<rest>.*)", re.DOTALL)  # 例如 tags[0]、args.url
MISTAKEN_KEY = "TASKMILL_API_KEY"  # 人们这样猜；真正的名字是 TASKMILL_API_TOKEN
_BAD_REQUESTS = range(400, 500)


class RemoteError(TaskmillError):
    """An error that the API answered, in the API's own words; its code may be newer than this program."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        self.name = str(answer.get("code", Code.INTERNAL))
        known = self.name in Code.__members__
        super().__init__(Code(self.name) if known else Code.INTERNAL, **(answer.get("details") or {}))
        self.status = status
        self.answer = answer
        self.known = known

    def message(self) -> dict[str, str]:
        """Return the words of the API."""
        return dict(self.answer.get("message") or super().message())

    def hint(self) -> dict[str, str] | None:
        """Return the hint of the API, and where to look for what it does not explain; for a refused key, how a command is given one."""
        if self.known and self.code is Code.UNAUTHORIZED:
            told = phrases.KEY_NOT_READ if MISTAKEN_KEY in os.environ else phrases.KEY_NEEDED
            return {"zh": told.zh, "en": told.en}
        given = self.answer.get("hint")
        if given:
            return dict(given)
        number = self.answer.get("request_id")
        return {"zh": f"request_id {number}", "en": f"request_id {number}"} if number else None


class OptionError(InputError):
    """What stands in an option, refused by the API or by the command itself; `--help` of the command says what it takes."""

    def __init__(self, code: Code, **details: Any) -> None:
        super().__init__(code, **details)
        context = click.get_current_context(silent=True)
        self.command = None if context is None else context.command_path

    def hint(self) -> dict[str, str] | None:
        """Return where to look."""
        if self.code not in {Code.INVALID_REQUEST, Code.USAGE} or self.command is None:
            return super().hint()
        return {"zh": f"{self.command} --help", "en": f"{self.command} --help"}


@contextmanager
def named(options: Mapping[str, str]) -> Iterator[None]:
    """Let errors of the API, and of services, speak of the options that a person typed: `options` maps their fields to them."""
    try:
        yield
    except (RemoteError, InputError) as error:
        field, (name, rest) = _FIELD.match(str(error.details.get("field", ""))), _split(error, options)
        known = not isinstance(error, RemoteError) or error.known
        option = options.get(name) if field is not None and known else None
        if field is None or option is None:
            raise
        told = error.details.get("reason", "")
        given = told if isinstance(told, Words) else Words(zh=str(error.details.get("reason_zh", told)), en=str(told))
        # 参数里的字段是类型自己的，与选项同名也不是选项
        others = {} if field["name"] == "args" else options
        reason = Words(zh=_renamed(given.zh, others), en=_renamed(given.en, others))
        raise OptionError(error.code, **{**error.details, "field": f"{option}{rest}", "reason": reason}) from error


def _split(error: TaskmillError, options: Mapping[str, str]) -> tuple[str, str]:
    """字段与其余：`unique.by` 这样有自己的选项的，比只看头一段更准。"""
    field = str(error.details.get("field", ""))
    longest = max((each for each in options if re.match(rf"{re.escape(each)}(?![\w])", field)), key=len, default="")
    return longest, field.removeprefix(longest)


def typed() -> dict[str, str]:
    """Return what a person types for each field of the API, as far as the current command calls its parameters like them."""
    context = click.get_current_context(silent=True)
    found: dict[str, str] = {}
    if context is None:
        return found
    for parameter in context.command.params:
        several = parameter.nargs == -1 or parameter.multiple
        name = (parameter.name or "").removesuffix("s" if several else "")
        found[name] = (
            parameter.opts[0] if isinstance(parameter, click.Option) else parameter.make_metavar(context).rstrip(".")
        )
    return found


def _renamed(reason: str, options: Mapping[str, str]) -> str:
    """理由里也会提到别的字段；带下划线的名字才不会是普通的词。"""
    for name, option in options.items():
        if "_" in name:
            reason = re.sub(rf"\b{name}\b", option, reason)
    return reason


def exit_code(error: TaskmillError) -> int:
    """Return the exit code for an error: that of the table, or for an unknown one by the HTTP status."""
    if isinstance(error, RemoteError) and not error.known:
        fallback = 2 if error.status in _BAD_REQUESTS else EXIT_FAILED
        return _BY_STATUS.get(error.status, fallback)
    return ERRORS[error.code].exit_code


def report(error: TaskmillError, *, command: str | None = None) -> int:
    """Tell an error on standard error and return the exit code; `command` is the one whose --help explains it."""
    name = error.name if isinstance(error, RemoteError) else error.code.value
    say(f"{name} {words(**error.message())}", err=True)
    hint = error.hint()
    advice = f"{command} --help" if command is not None else None if hint is None else words(**hint)
    if advice is not None:
        say(words("提示：", "hint: ") + advice, err=True)
    return exit_code(error)
