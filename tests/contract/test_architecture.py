"""The page on architecture is the code: its rooms, its arrows, its paths; and a wrong page would be noticed."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "platform" / "taskmill"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUND = "ground"
NONE = "–"
TOKEN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]*/[\w./-]*|[\w-]+\.(?:py|md|toml)")
Arrow = tuple[str, str]


@dataclass(frozen=True)
class Room:
    """One row of the table: its folders and files, whom it may touch, which libraries."""

    name: str
    places: tuple[str, ...]
    touches: frozenset[str]
    libraries: frozenset[str]


@dataclass
class Imports:
    """What the code imports, by room: other rooms, libraries that a contract holds, and files in no room."""

    arrows: set[Arrow] = field(default_factory=set)
    libraries: dict[str, set[str]] = field(default_factory=dict)
    homeless: list[str] = field(default_factory=list)


def between(page: str, mark: str) -> str:
    return page.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]


def rooms(page: str) -> dict[str, Room]:
    """Return the rooms of the table by name."""
    found: dict[str, Room] = {}
    for line in between(page, "rooms").strip().splitlines()[2:]:
        name, places, _, touches, libraries = (cell.strip() for cell in line.strip("|").split(" | "))
        found[name] = Room(name, tuple(TOKEN.findall(places)), _names(touches), _names(libraries))
    return found


def _names(cell: str) -> frozenset[str]:
    return frozenset() if cell == NONE else frozenset(name.strip() for name in cell.split(","))


def drawn(page: str) -> set[Arrow]:
    """Return the arrows of the drawing; `a --> b --> c` is two."""
    chains = [re.split(r" -->| -\.->", line) for line in between(page, "drawing").splitlines() if re.search(r"-\.?->", line)]
    steps = [[part.strip() for part in chain] for chain in chains]
    return {arrow for chain in steps for arrow in pairwise(chain)}


def reached(arrows: set[Arrow]) -> set[Arrow]:
    """Return all pairs that a way of arrows leads between."""
    ways = set(arrows)
    while more := {(a, d) for a, b in ways for c, d in arrows if b == c} - ways:
        ways |= more
    return ways


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("taskmill", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)


def held() -> set[str]:
    """Return the libraries that import-linter holds to a few rooms, and Litestar, which test_constitution holds."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    names = {name for contract in contracts for name in contract.get("forbidden_modules", ())}
    return {name for name in names if not name.startswith("taskmill")} | {"litestar"}


def file_of(module: str) -> str:
    """Return the file of a module, relative to the package."""
    path = "/".join(module.split(".")[1:])
    return f"{path}/__init__.py".lstrip("/") if (PACKAGE / path).is_dir() else f"{path}.py"


def room_of(file: str, table: Mapping[str, Room]) -> str | None:
    """Return the room that names this file, or its folder."""
    folder = f"{file.rpartition('/')[0]}/" if "/" in file else "./"
    for place in (file, folder):
        for room in table.values():
            if place in room.places:
                return room.name
    return None


def imports(table: Mapping[str, Room]) -> Imports:
    """Return what the code imports, in the rooms of `table`."""
    found, modules = Imports(), graph()
    for module in sorted(name for name in modules.modules if name.split(".")[0] == "taskmill"):
        here = room_of(file_of(module), table)
        if here is None:
            found.homeless.append(file_of(module))
            continue
        for target in modules.find_modules_directly_imported_by(module):
            if target in held():
                found.libraries.setdefault(here, set()).add(target)
            elif target.split(".")[0] == "taskmill":
                there = room_of(file_of(target), table)
                if there is not None and there != here:
                    found.arrows.add((here, there))
    return found


def place_of(token: str) -> Path:
    """Return what a path of the page stands for: below the package, else from the root."""
    below = PACKAGE / token
    return below if below.exists() else ROOT / token


def lost(page: str) -> Iterator[str]:
    """Yield each path of the page that doesn't exist, and each `file.py:name` whose name is not in the file."""
    for token in TOKEN.findall(page):
        path, _, name = token.partition(":")
        if PATH.fullmatch(path) is None:
            continue
        if not place_of(path).exists() or (name and name not in _defined(place_of(path))):
            yield token


def _defined(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}


def problems(page: str) -> Iterator[str]:
    """Yield one line for each thing that the page says and the code doesn't, or the other way round."""
    table = rooms(page)
    seen = imports(table)
    declared = {(room.name, target) for room in table.values() for target in room.touches}
    real = {(here, there) for here, there in seen.arrows if there != GROUND}
    yield from (f"in no room: {file}" for file in seen.homeless)
    yield from (f"no such path: {token}" for token in lost(page))
    yield from (f"not in the table: {a} imports {b}" for a, b in sorted(real - declared))
    yield from (f"nobody does: {a} imports {b}" for a, b in sorted(declared - real))
    for room in table.values():
        used = seen.libraries.get(room.name, set())
        yield from (f"not in the table: {room.name} imports {name}" for name in sorted(used - room.libraries))
        yield from (f"nobody does: {room.name} imports {name}" for name in sorted(room.libraries - used))
    yield from (f"drawn, but nobody does: {a} imports {b}" for a, b in sorted(drawn(page) - real))
    yield from (f"no way in the drawing: {a} to {b}" for a, b in sorted(real - reached(drawn(page))))


def test_the_page_is_the_code() -> None:
    assert list(problems(PAGE)) == []


def test_every_folder_with_python_is_named() -> None:
    folders = {f"{file.parent.relative_to(PACKAGE)}/".replace("./", "", 1) or "./" for file in PACKAGE.rglob("*.py")}
    named = {place for room in rooms(PAGE).values() for place in room.places if place.endswith("/")}
    assert named == folders


def test_the_page_looks_at_something() -> None:
    table = rooms(PAGE)
    assert len(table) > 15
    assert len(imports(table).arrows) > 60
    assert len([token for token in TOKEN.findall(PAGE) if ".py" in token]) > 100
    assert {"asyncpg", "kopf", "taskiq"} <= held()


@pytest.mark.parametrize(
    ("old", "new", "noticed"),
    [
        ("`dev/`", "`dev/nowhere/`", "in no room: dev/dev.py"),
        ("`kube/names.py`, ", "", "not in the table: plan imports kube"),
        ("`api/auth.py:authorize`", "`api/door.py`", "no such path: api/door.py"),
        ("`api/auth.py:authorize`", "`api/auth.py:nobody`", "no such path: api/auth.py:nobody"),
        ("`specs/`", "`spices/`", "no such path: spices/"),
        (
            "| dashboard, services, plugin, serving | litestar |",
            "| dashboard, services, serving | litestar |",
            "not in the table: api imports plugin",
        ),
        (
            "| dashboard, services, plugin, serving | litestar |",
            "| dashboard, services, plugin, serving | – |",
            "not in the table: api imports litestar",
        ),
        ("| models | asyncpg, redis,", "| models, services | asyncpg, redis,", "nobody does: stores imports services"),
        ("| render, state, crd, scale, names, services | – |", "| render | kopf |", "nobody does: plan imports kopf"),
        ("stores --> models", "models --> stores", "drawn, but nobody does: models imports stores"),
        ("    dev --> engine\n", "", "no way in the drawing: dev to engine"),
    ],
)
def test_a_wrong_page_is_noticed(old: str, new: str, noticed: str) -> None:
    assert PAGE.count(old) == 1
    assert noticed in list(problems(PAGE.replace(old, new)))
