"""The size cap: files of at most 500 lines, functions of at most 40; and `platform/` must never become a package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 500
FUNCTION_LINES = 40
MAKEFILE_LINES = 80
SUFFIXES = frozenset({".py", ".sql", ".lua", ".html", ".css", ".js", ".toml", ".yaml", ".sh"})
FUNCTION_ROOTS = ("platform/", "plugins/")  # 测试里的表格可以长
VENDORED = ("/static/vendor/", "crds/task", "charts/taskmill-crds/templates/", "/golden/")  # 他人的代码与程序写出的文件


def tracked_files(root: Path) -> list[str]:
    """Return the files of the checkout that git doesn't ignore, relative to `root`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.splitlines() if (root / name).is_file()]


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from `def` to the end, without the docstring."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def problems_of(name: str, text: str) -> Iterator[str]:
    """Yield one line for each excess in a file."""
    lines = text.count("\n")
    cap = MAKEFILE_LINES if name == "Makefile" else FILE_LINES
    if lines > cap:
        yield f"{name}: {lines} lines, at most {cap}"
    if name.endswith(".py") and name.startswith(FUNCTION_ROOTS):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (size := function_lines(node)) > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {size} lines, at most {FUNCTION_LINES}"


def problems(root: Path) -> Iterator[str]:
    """Yield one line for each excess in the checkout."""
    if (root / "platform" / "__init__.py").exists():
        yield "platform/__init__.py: must not exist, it would hide the module `platform` of Python"
    for name in tracked_files(root):
        if (Path(name).suffix in SUFFIXES or name == "Makefile") and not any(part in name for part in VENDORED):
            yield from problems_of(name, (root / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    found = list(problems(Path(__file__).parents[2]))
    sys.stdout.writelines(f"{line}\n" for line in found)
    sys.exit(1 if found else 0)
