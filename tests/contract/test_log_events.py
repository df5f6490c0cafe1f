"""Every event that the platform logs is a literal and has its English, in the table or at the logger; neither has another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def own(tree: ast.AST) -> dict[str, str]:
    """Return the events that a file gives its logger with their English."""
    return {
        event: english
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get_logger"
        for given in node.args[1:]
        for event, english in ast.literal_eval(given).items()
    }


def table(tree: ast.Module) -> dict[str, str]:
    """Return the table as it is written: at run time loggers add to it."""
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == "ENGLISH"
    )


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
OWN = {path: own(tree) for path, tree in TREES.items()}
TABLE = table(TREES[PACKAGE / "text" / "log_events.py"])


def test_every_event_has_its_english_in_one_place_and_no_place_has_another() -> None:
    found = {path: dict(events(tree)) for path, tree in TREES.items()}
    assert {
        f"{path.relative_to(PACKAGE)}:{line}": event
        for path, lines in found.items()
        for line, event in lines.items()
        if event not in TABLE and event not in OWN[path]
    } == {}
    assert set(TABLE) - {event for lines in found.values() for event in lines.values()} == set()
    assert [event for path, each in OWN.items() for event in each if event not in found[path].values()] == []
    assert [event for each in OWN.values() for event in each if event in TABLE] == []
    assert TABLE
    assert any(OWN.values())


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
        text
        for each in (TABLE, *OWN.values())
        for text in each.values()
        if CHINESE.search(text) or text != text.strip(" .") or not text.isprintable()
    ] == []
