"""Every event that the platform logs is a literal and has its English; the table has no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskmill.text.log_events import ENGLISH

PACKAGE = Path(__file__).parents[2] / "platform" / "taskmill"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")


def _logs(node: ast.expr) -> bool:
    match node:
        case ast.Name(id="log") | ast.Attribute(attr="log"):
            return True
        case ast.Call(func=ast.Name(id="get_logger")):
            return True
        case ast.Call(func=ast.Attribute(attr="bind", value=inner)):
            return _logs(inner)
        case _:
            return False


def events(tree: ast.AST) -> Iterator[tuple[int, str | None]]:
    """Yield line and event of each call that logs; None is an event that is no literal."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=level, value=logger)) if level in LEVELS and _logs(logger):
                place = int(level == "log")
            case ast.Call(func=ast.Name(id="access")):
                place = 0
            case _:
                continue
        event = node.args[place] if len(node.args) > place else None
        yield node.lineno, event.value if isinstance(event, ast.Constant) and isinstance(event.value, str) else None


def test_every_event_is_in_the_table_and_the_table_has_no_other() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{line}": event
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, event in events(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert {place: event for place, event in found.items() if event not in ENGLISH} == {}
    assert set(ENGLISH) - set(found.values()) == set()


@pytest.mark.parametrize(
    ("source", "event"),
    [
        ("log.info('一')", "一"),
        ("self.log.log(level, '一', n=1)", "一"),
        ("get_logger('x').bind(a=1).error('一')", "一"),
        ("access('一', {})", "一"),
        ("log.info(f'一{n}')", None),
        ("log.info('一' if n else '二')", None),
        ("log.info(event)", None),
        ("log.info(event='一')", None),
    ],
)
def test_only_a_literal_counts(source: str, event: str | None) -> None:
    assert [found for _, found in events(ast.parse(source))] == [event]


def test_english_is_plain_and_without_chinese() -> None:
    assert [
        text for text in ENGLISH.values() if CHINESE.search(text) or text != text.strip(" .") or not text.isprintable()
    ] == []
