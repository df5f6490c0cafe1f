"""The lines that pytest shows with a test are in one language, and nobody's own logging is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from taskmill import reasons
from taskmill.testing import logs

SAID = {"zh": ("已停止", "未设置"), "en": ("stopped", "not set")}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Structlog as in a program that never set it up."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.mark.parametrize("language", SAID)
def test_a_line_is_in_the_language_that_is_set(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.tell(language)
    logs.tell("zh" if language == "en" else "en")  # 第一次算数
    structlog.get_logger().info("已停止", role="worker", reason=reasons.NOT_SET)
    told = capsys.readouterr().out
    event, reason = SAID[language]
    assert event in told
    assert reason in told
    assert "Words(" not in told


def divide(secret: int) -> float:
    """Fail, with something in a local variable."""
    return secret / 0


def test_a_traceback_is_without_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logs.tell("en")
    with pytest.raises(ZeroDivisionError) as caught:
        divide(8128)
    structlog.get_logger().error("已停止", exc_info=caught.value)
    told = capsys.readouterr().out
    assert "in divide" in told
    assert "8128" not in told.replace("divide(8128)", "")


def test_an_own_configuration_stays(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    logs.tell("en")
    structlog.get_logger().info("已停止")
    assert capsys.readouterr().out.encode() == b'{"event": "\\u5df2\\u505c\\u6b62"}\n'
