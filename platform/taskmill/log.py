"""Structured logs: Chinese event text, English keys; terminal, and rotating JSON files when a folder is set."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from taskmill import constants as c

ACCESS_LOGGER = "taskmill.access"


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger that renders through the handlers which `configure_logging` set up."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def _formatter(*, as_json: bool, colors: bool = False) -> logging.Formatter:
    last = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if as_json
        # 普通回溯：rich 的会连局部变量一起打印，密码也在其中
        else [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )


def _file(path: Path, max_bytes: int, count: int) -> RotatingFileHandler:
    handler = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=count, encoding="utf-8")
    handler.setFormatter(_formatter(as_json=True))
    return handler


def configure_logging(
    *,
    level: str = "INFO",
    log_format: str = "console",
    log_dir: Path | None = None,
    max_bytes: int = c.LOG_FILE_MAX_BYTES,
    count: int = c.LOG_FILE_COUNT,
) -> None:
    """Send logs to standard error, and to `taskmill.log` and `access.log` in `log_dir` if it is set."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_formatter(as_json=log_format == "json", colors=sys.stderr.isatty()))
    root = logging.getLogger()
    access = logging.getLogger(ACCESS_LOGGER)
    root.handlers, access.handlers, access.propagate = [stream], [], log_dir is None
    if log_dir is not None:
        log_dir.mkdir(parents=True, exist_ok=True)
        root.addHandler(_file(log_dir / "taskmill.log", max_bytes, count))
        access.addHandler(_file(log_dir / "access.log", max_bytes, count))
    root.setLevel(level)
    access.setLevel(logging.INFO)  # 访问日志一条不少，与级别设置无关
    for noisy in ("alembic", "mail.log", "uvicorn.access", "taskiq"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
