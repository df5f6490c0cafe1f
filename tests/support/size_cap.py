"""The size cap: files of at most 400 lines in platform and plugins and 500 elsewhere, functions of at most 40 lines,
folders of at most 20 Python files; and `platform/` must never become a package.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

FILE_LINES = 500
SOURCE_LINES = 400
FUNCTION_LINES = 40
MAKEFILE_LINES = 80
FOLDER_FILES = 20  # 一眼看得完；连 __init__.py 也算
SUFFIXES = frozenset({".py", ".sql", ".lua", ".html", ".css", ".js", ".toml", ".yaml", ".sh"})
SOURCE_ROOTS = ("platform/", "plugins/")  # 测试里的表格可以长
FOLDER_ROOT = "platform/taskmill/"
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


def _cap(name: str) -> int:
    if name == "Makefile":
        return MAKEFILE_LINES
    return SOURCE_LINES if name.endswith(".py") and name.startswith(SOURCE_ROOTS) else FILE_LINES


def crowded(names: Iterable[str]) -> Iterator[str]:
    """Yield one line for each folder of the package that has too many Python files."""
    files = Counter(str(PurePosixPath(n).parent) for n in names if n.startswith(FOLDER_ROOT) and n.endswith(".py"))
    for folder, count in sorted(files.items()):
        if count > FOLDER_FILES:
            yield f"{folder}: {count} Python files, at most {FOLDER_FILES}"


def problems_of(name: str, text: str) -> Iterator[str]:
    """Yield one line for each excess in a file."""
    lines = text.count("\n")
    if lines > (cap := _cap(name)):
        yield f"{name}: {lines} lines, at most {cap}"
    if name.endswith(".py") and name.startswith(SOURCE_ROOTS):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (size := function_lines(node)) > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {size} lines, at most {FUNCTION_LINES}"


def problems(root: Path) -> Iterator[str]:
    """Yield one line for each excess in the checkout."""
    if (root / "platform" / "__init__.py").exists():
        yield "platform/__init__.py: must not exist, it would hide the module `platform` of Python"
    names = tracked_files(root)
    yield from crowded(names)
    for name in names:
        if (Path(name).suffix in SUFFIXES or name == "Makefile") and not any(part in name for part in VENDORED):
            yield from problems_of(name, (root / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    found = list(problems(Path(__file__).parents[2]))
    sys.stdout.writelines(f"{line}\n" for line in found)
    sys.exit(1 if found else 0)
