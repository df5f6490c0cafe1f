"""What a type checker of a plugin's author sees: the package is typed and `@task` keeps signatures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import taskmill

CODE = """
from uuid import UUID
from taskmill import TaskContext, task
from taskmill.plugin import TaskDefinition


@task("shop.pack")
async def pack(order: int, ctx: TaskContext, gift: bool = False) -> str:
    return str(await ctx.submit("shop.send", {"order": order}))


@task("shop.count")
def count(ctx: TaskContext) -> UUID:
    return ctx.submit_sync("shop.send")


async def right(ctx: TaskContext) -> str:
    return await pack(1, ctx, gift=True)


async def wrong(ctx: TaskContext) -> None:
    await pack("one", ctx)
    number: int = await pack(1, ctx)
    count()
"""
LINES = CODE.splitlines()
WRONG = "  # wrong"
# 应用碰得到的才看；门后面的一半产品与它的库，看一遍要半分钟
BEHIND = (
    "alembic",
    "asyncpg",
    "msgspec",
    "pydantic",
    "redis",
    "sqlalchemy",
    "structlog",
    "taskiq",
    "taskmill.services",
    "taskmill.stores",
)
MYPY = "[mypy]\nstrict = true\n" + "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in BEHIND)
# 两个检查器都要在每一行 wrong 上报错，别的行上一个也不报
REQUESTS = """
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import taskmill.sync
from taskmill import Order, TaskContext, Taskmill, TaskRequest, Unique, task


@dataclass
class Thumb:
    width: int


@task("shop.mail")
async def mail(ctx: TaskContext, to: str, copies: int = 1) -> str:
    return str(await ctx.submit(resize.request(Thumb(1)), priority=2))


@task("shop.resize")
async def resize(args: Thumb, ctx: TaskContext) -> Thumb:
    return args


@task("shop.pack")
async def pack(order: int, ctx: TaskContext, gift: bool = False) -> bool:
    return gift


@task("shop.count")
def count(word: str) -> int:
    return len(word)


@task("shop.any")
def anything(key: str, value: Any) -> Any:
    return value


async def use(tm: Taskmill, ctx: TaskContext, blocking: taskmill.sync.Taskmill) -> None:
    words: Order[str] = await tm.submit(mail.request(to="a", copies=2), priority=1, unique=Unique(by=["to"]))
    text: str = await words.result(timeout=3)
    thumb: Thumb = await (await tm.submit(resize.request(Thumb(1)), connection=object())).result()
    async for order in tm.submit_many(count.request(word) for word in ("a", "b")):
        number: int = await order.result()
    plain: int = blocking.submit(count.request("a")).result(3)
    named: Order[Any] = await tm.submit("shop.mail", {"to": "a"})
    asked: TaskRequest[int] = count.request(word="a").having(tags=["x"])
    child: UUID = await ctx.submit(count.request("a"))
    packed: TaskRequest[bool] = pack.request(1, gift=True)
    other: Any = anything.request(key="k", value=1)
    again: str = await mail(ctx, to="a")

    mail.request(to=1)  # wrong
    mail.request(too="a")  # wrong
    mail.request()  # wrong
    resize.request("a")  # wrong
    resize.request()  # wrong
    pack.request(1, gifts=True)  # wrong
    pack.request("a")  # wrong
    count.request(word=b"a")  # wrong
    count.request("a").having(priorty=1)  # wrong
    bad: TaskRequest[str] = count.request("a")  # wrong
    await tm.submit(count.request("a"), priorty=1)  # wrong
    await tm.submit(count.request("a"), queue=5)  # wrong
    less: int = await (await tm.submit(mail.request("a"))).result()  # wrong
    await ctx.submit(count.request("a"), colour=1)  # wrong
    blocking.submit(count.request("a"), colour=1)  # wrong
"""


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(taskmill.__file__).parent / "py.typed").is_file()


def basedpyright(folder: Path, code: str) -> dict[int, str]:
    """Return the errors by line, from 0."""
    (folder / "shop.py").write_text(code, encoding="utf-8")
    settings = {"typeCheckingMode": "basic", "pythonVersion": "3.11", "reportUnusedVariable": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("basedpyright"),
            "--outputjson",
            "--pythonpath",
            sys.executable,
            "--project",
            folder,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {item["range"]["start"]["line"]: item["message"] for item in found if item["severity"] == "error"}


def mypy(folder: Path, code: str) -> dict[int, str]:
    """Return the errors by line, from 0."""
    file, settings = folder / "shop.py", folder / "mypy.ini"
    file.write_text(code, encoding="utf-8")
    settings.write_text(MYPY, encoding="utf-8")
    program = Path(sys.executable).with_name("mypy")
    options = [
        "--config-file",
        settings,
        "--no-error-summary",
        "--hide-error-context",
        "--cache-dir",
        folder,
        "--python-executable",
        sys.executable,
    ]
    done = subprocess.run([program, *options, file], capture_output=True, text=True, check=False, timeout=200, cwd=folder)
    assert done.stderr == ""
    found = re.findall(r"^shop\.py:(\d+): error: (.*)$", done.stdout, flags=re.MULTILINE)
    return {int(line) - 1: words for line, words in found}


@pytest.mark.parametrize("checker", [basedpyright, mypy], ids=lambda checker: checker.__name__)
def test_a_request_has_the_types_of_its_handler(tmp_path: Path, checker: Callable[[Path, str], dict[int, str]]) -> None:
    wrong = {number for number, line in enumerate(REQUESTS.splitlines()) if line.endswith(WRONG)}
    found = checker(tmp_path, REQUESTS)
    assert len(wrong) > 10
    assert set(found) == wrong, found


def test_a_wrong_call_of_a_task_is_a_type_error(tmp_path: Path) -> None:
    lines = basedpyright(tmp_path, CODE)
    wrong = {
        number
        for number, line in enumerate(LINES)
        if line in {'    await pack("one", ctx)', "    number: int = await pack(1, ctx)", "    count()"}
    }
    assert set(lines) == wrong, lines
