"""Log lines in a test, where nobody has set up logging: structlog prints them, and pytest shows them with a test that fails."""

from __future__ import annotations

import structlog

from taskmill.log import readable


def tell(language: str) -> None:
    """Let lines be in `language`; structlog that somebody has set up, and the logging of the standard library, are left alone."""
    if not structlog.is_configured():
        *first, _ = structlog.get_config()["processors"]
        # 默认的渲染器连局部变量一起打印，一次失败几百行
        last = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(processors=[*readable(language), *first, last])
