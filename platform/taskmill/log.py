"""Structured logs: Chinese event text, English keys; terminal, and rotating JSON files when a folder is set."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from io import StringIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

import msgspec
import structlog
from structlog.typing import Processor

from taskmill import constants as c
from taskmill.text.log_events import ENGLISH, english
from taskmill.text.printable import json_safe, printable
from taskmill.words import Words, speak

ACCESS_LOGGER = "taskmill.access"


def get_logger(name: str, events: Mapping[str, str] | None = None) -> structlog.stdlib.BoundLogger:
    """Return a logger that renders through the handlers which `configure_logging` set up.

    `events`: the English of what it alone says, where that does not stand in `text/log_events.py`.
    """
    ENGLISH.update(events or {})
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


# 正在执行的尝试：任务编号、类型、第几次。处理函数写的每一行日志都带上，线程里也一样
attempt_in_log: ContextVar[tuple[UUID, str, int] | None] = ContextVar("taskmill_attempt", default=None)


def _attempt(_logger: Any, _name: str, event: Any) -> Any:
    running = attempt_in_log.get()
    if running is not None:
        event.setdefault("task_id", str(running[0]))
        event.setdefault("kind", running[1])
        event.setdefault("attempt", running[2])
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    _attempt,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def access(event: str, fields: dict[str, Any]) -> None:
    """Write one line to the access log by the shortest way: one per request adds up."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"event": event, "level": "info", "logger": ACCESS_LOGGER, "timestamp": f"{moment[:-6]}Z", **fields}
    record = logging.LogRecord(ACCESS_LOGGER, logging.INFO, "", 0, line, None, None)
    # structlog 的格式化器凭这两个属性认出已是字典的记录
    record._logger, record._name = _access, "info"  # type: ignore[attr-defined]  # noqa: SLF001
    _access.handle(record)


_access = logging.getLogger(ACCESS_LOGGER)


class _JsonLine(logging.Formatter):
    """访问日志的文件：字典直接编码，不经过处理链。"""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._english = language == "en"

    def format(self, record: logging.LogRecord) -> str:
        line = record.msg
        if not isinstance(line, dict):
            return super().format(record)
        # 同一个字典还要给别的处理器，不能就地改
        return _json({**line, "event": english(line["event"])} if self._english else line)


class _Terminal(logging.StreamHandler[Any]):
    """总是写到此刻的标准错误：rich 的表格在更新时会把它换成自己的，日志才不会撕破表格。"""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # 不用 setStream：它先冲刷旧的，旧的已关闭就会把错误抛给写日志的人
        super().emit(record)


class _Rotating(RotatingFileHandler):
    """看文件大小与年龄决定轮转；标准库会为此把每行先格式化一遍，而且两者只能选一。"""

    def __init__(self, path: Path, *, max_bytes: int, max_age_s: float, count: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=count, encoding="utf-8")
        self._max_age_s = max_age_s
        self._born = _born(path)
        self._lost = 0  # 上次说过之后，又有几行没写成
        self._said = float("-inf")

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - 标准库的名字
        if self.stream is None or self.stream.tell() == 0:
            return 0
        return int(self.stream.tell() >= self.maxBytes or record.created - self._born >= self._max_age_s)

    def _open(self) -> TextIOWrapper[Any]:
        # 新建的文件只给自己看；已有的文件保持管理员设的权限
        number = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, c.LOG_FILE_MODE)
        return os.fdopen(number, "a", encoding="utf-8")

    def doRollover(self) -> None:  # noqa: N802 - 标准库的名字
        super().doRollover()
        self._born = time.time()

    def close(self) -> None:
        with suppress(OSError):  # 满了的磁盘：缓冲里剩的那点写不成，handleError 已经说过
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - 标准库的名字
        # 磁盘满时每一行都写不成。标准库为每行在标准错误印一份堆栈；这里隔一阵说一次，自己再失败时只计数
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._lost += 1
        if time.monotonic() - self._said >= c.LOG_FILE_SAY_S:
            self._said, lost, self._lost = time.monotonic(), self._lost, 0
            get_logger(__name__).error("日志文件写不下去", path=self.baseFilename, error=str(error), lines=lost)


def _born(path: Path) -> float:
    """文件何时开始写：重启之后接着写同一个文件，看它第一行的时间；读不出就从现在算起。"""
    try:
        with path.open("rb") as file:
            stamp: str = msgspec.json.decode(file.readline())["timestamp"]
        return datetime.fromisoformat(stamp).timestamp()
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return time.time()


def _json(value: Any, **_: Any) -> str:
    try:
        text = msgspec.json.encode(value, enc_hook=repr).decode()
    except UnicodeEncodeError:  # 孤立代理，例如读不出的文件名：写成转义，不丢这一行
        text = json.dumps(value, default=repr)
    return json_safe(text)  # C1 与双向控制符在 JSON 里可以不转义，看日志的终端却照做


def _unsteered(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """终端形式：别人写的字不能变成终端的指令，也不能冒充另一行。"""
    for name, value in line.items():
        if name == "exc_info" or isinstance(value, (int, float, type(None))):
            continue
        # 渲染器对不是文字的值用 repr
        shown = value if isinstance(value, str) else repr(value)
        if not shown.isprintable():
            line[name] = printable(shown, _MULTILINE if name in _PROSE else "")
    return line


def _traceback(out: TextIO, exc_info: Any) -> None:
    """异常的文字里也有别人写的字。"""
    text = StringIO()
    # 普通回溯：rich 的会连局部变量一起打印，密码也在其中
    structlog.dev.plain_traceback(text, exc_info)
    out.write(printable(text.getvalue(), _MULTILINE))


_MULTILINE = "\n\t"
_PROSE = frozenset({"event", "exception", "stack"})


def _in_english(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """只换事件，别的照旧。"""
    if isinstance(line.get("event"), str):
        line["event"] = english(line["event"])
    return line


def _one_language(language: str) -> Processor:
    """两种语言都有的值，只写日志的那一种。"""

    def tell(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in line.items():
            if isinstance(value, Words):
                line[name] = value.zh if language == "zh" else value.en
        return line

    return tell


def readable(language: str) -> list[Processor]:
    """Return what makes a line one in `language`: the first processors of a chain."""
    return [_one_language(language), *([_in_english] if language == "en" else [])]


def _formatter(language: str, *, as_json: bool, colors: bool = False) -> logging.Formatter:
    last = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
        if as_json
        else [_unsteered, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_traceback)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *readable(language), *last],
    )


_LEAST = {
    **dict.fromkeys(("alembic", "mail.log", "uvicorn.access", "taskiq"), logging.WARNING),
    # 数据库不在时它每秒带一份堆栈；同样的事我们自己的循环与请求会说，一行一件
    "asyncpg.pool": logging.ERROR,
    # 处理函数抛的每个异常（连同 Retry、取消）它都写一份堆栈；我们一行说完，堆栈在尝试的记录里
    "taskiq.receiver": logging.CRITICAL,
}


def configure_logging(
    *,
    level: str = "INFO",
    log_format: str = "console",
    log_dir: Path | None = None,
    max_bytes: int = c.LOG_FILE_MAX_BYTES,
    max_age_s: float = c.LOG_FILE_MAX_AGE_S,
    count: int = c.LOG_FILE_COUNT,
    terminal_level: str | None = None,
    language: str | None = None,
) -> None:
    """Send logs to standard error (from `terminal_level` on, if that is given), and to `taskmill.log` and `access.log` in `log_dir` if it is set.

    A file is rotated when it has `max_bytes` or is `max_age_s` old; `count` rotated ones are kept.
    Events, and errors in lines and tracebacks, are in `language` (`zh` or `en`); None: as `TASKMILL_LOG_LANG` says, else Chinese.
    """
    language = language or os.environ.get("TASKMILL_LOG_LANG", "zh")
    speak(language)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    stream = _Terminal()
    stream.setLevel(terminal_level or logging.NOTSET)
    stream.setFormatter(_formatter(language, as_json=log_format == "json", colors=sys.stderr.isatty()))
    root = logging.getLogger()
    for old in (*root.handlers, *_access.handlers):
        if isinstance(old, _Rotating):
            old.close()
    root.handlers, _access.handlers, _access.propagate = [stream], [], log_dir is None
    if log_dir is not None:
        log_dir.mkdir(mode=c.LOG_DIR_MODE, parents=True, exist_ok=True)
        files = {"taskmill.log": (root, _formatter(language, as_json=True)), "access.log": (_access, _JsonLine(language))}
        for name, (logger, formatter) in files.items():
            handler = _Rotating(log_dir / name, max_bytes=max_bytes, max_age_s=max_age_s, count=count)
            handler.setFormatter(formatter)
            logger.addHandler(handler)
    root.setLevel(level)
    _access.setLevel(logging.INFO)  # 访问日志一条不少，与级别设置无关
    for noisy, least in _LEAST.items():
        logging.getLogger(noisy).setLevel(least)
