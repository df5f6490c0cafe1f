"""Each language has a field of its own: no text holds both, and what the API answers keeps them apart."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import taskmill
from taskmill.api.app import create_app
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.api import client as client_of

ROOT = Path(taskmill.__file__).parents[2]
SOURCES = [ROOT / "platform", *ROOT.glob("plugins/*/src"), ROOT / "examples", ROOT / "benchmarks", ROOT / "migrations",
           ROOT / "tests" / "support", ROOT / "tests" / "cluster", ROOT / "tests" / "chaos"]  # fmt: skip
CHINESE = re.compile(r"[\u4e00-\u9fff]")
BOTH = re.compile(r"[A-Za-z0-9}).?!] / |(?<![A-Za-z]) / [A-Za-z]")


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_text_holds_both_languages() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for folder in SOURCES
        for path in sorted(folder.rglob("*.py"))
        for line, text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        if CHINESE.search(text) and BOTH.search(text)
    ]
    assert found == []


@pytest.fixture
async def client(database_url: str, broker_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller who may do everything."""
    async with (
        api.opened(database_url, broker_url) as platform,
        client_of(create_app(platform), await _key(platform)) as found,
    ):
        yield found


async def _key(platform: Platform) -> str:
    return (await platform.keys.create("k", ["read", "write"])).secret


TASKS = "/api/v1/tasks"
WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", TASKS, {"json": {}}),
    ("POST", TASKS, {"json": {"kind": 7}}),
    ("POST", TASKS, {"json": {"kind": "a b"}}),
    ("POST", TASKS, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    ("POST", TASKS, {"content": b'{"kind": "\xff"}', "headers": {"Content-Type": "application/json"}}),
    ("GET", TASKS, {"params": {"page": "0"}}),
    ("GET", TASKS, {"params": {"page": "9999999"}}),
    ("GET", TASKS, {"params": {"state": "gone"}}),
    ("GET", TASKS, {"params": [("page", "1"), ("page", "2")]}),
    ("GET", f"{TASKS}/no-uuid", {}),
    ("POST", "/api/v1/schedules", {"json": {"name": "a b", "kind": "a.b", "cron": "* * * * *"}}),
    ("POST", "/api/v1/schedules", {"json": {"name": "a", "kind": "a.b", "cron": "never"}}),
    ("POST", "/api/v1/schedules", {"json": {"name": "a", "kind": "a.b"}}),
    ("GET", TASKS, {"headers": {"Authorization": "Basic x"}}),
    ("GET", TASKS, {"headers": {"Authorization": "Bearer nobody"}}),
]


@pytest.mark.anyio
async def test_an_error_of_the_api_keeps_the_languages_apart(client: httpx2.AsyncClient) -> None:
    for method, path, options in WRONG:
        answer = await client.request(method, path, **options)
        found = api.envelope(answer)
        where = f"{method} {path} {options}: {found}"
        assert answer.is_client_error, where
        assert not CHINESE.search(found["message"]["en"]), where
        assert CHINESE.search(found["message"]["zh"]), where
        assert found["details"]["reason"], where
        assert not CHINESE.search(found["details"]["reason"]), where
        assert CHINESE.search(found["details"]["reason_zh"]), where
