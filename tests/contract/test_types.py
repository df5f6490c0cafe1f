"""What a type checker of a plugin's author sees: the package is typed and `@task` keeps signatures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(taskmill.__file__).parent / "py.typed").is_file()


def test_a_wrong_call_of_a_task_is_a_type_error(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CODE, encoding="utf-8")
    settings = {"typeCheckingMode": "basic", "pythonVersion": "3.11", "reportUnusedVariable": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("basedpyright"),
            "--outputjson",
            "--pythonpath",
            sys.executable,
            "--project",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = {item["range"]["start"]["line"]: item["message"] for item in found if item["severity"] == "error"}
    wrong = {
        number
        for number, line in enumerate(LINES)
        if line in {'    await pack("one", ctx)', "    number: int = await pack(1, ctx)", "    count()"}
    }
    assert set(lines) == wrong, lines
