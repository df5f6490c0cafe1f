"""Rules of the house that code review would forget one day."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.orm import configure_mappers

from taskmill.constants import SCHEMA
from taskmill.models.base import Base

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "platform" / "taskmill"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")])
# 谁可以导入什么：驱动只在 stores，taskiq 只在 engine 与 plugin
DRIVERS = {
    "asyncpg": ("stores", "dev", "testing"),
    "redis": ("stores", "dev", "testing"),
    "sqlalchemy": ("stores", "models"),
    "advanced_alchemy": ("stores", "models"),
    "taskiq": ("engine", "plugin"),
    "taskiq_redis": ("engine",),
    "litestar": ("api", "dashboard"),
}


@cache
def imported(source: Path) -> frozenset[str]:
    """Return the full names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse(source.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return frozenset(plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0})


def area(source: Path) -> str:
    """Return the first folder below the package (empty: the package itself)."""
    parts = source.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def test_platform_is_a_folder_and_not_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


@pytest.mark.parametrize(("driver", "areas"), DRIVERS.items())
def test_a_driver_is_imported_only_where_it_belongs(driver: str, areas: tuple[str, ...]) -> None:
    strangers = [
        str(source.relative_to(ROOT))
        for source in PACKAGE.rglob("*.py")
        if area(source) not in areas and any(name.split(".")[0] == driver for name in imported(source))
    ]
    assert strangers == []


@pytest.mark.parametrize(
    ("here", "there"), [("engine", "api"), ("api", "engine"), ("stores", "services"), ("models", "stores")]
)
def test_layers_do_not_reach_across_or_up(here: str, there: str) -> None:
    found = [
        f"{source.name}: {name}"
        for source in (PACKAGE / here).rglob("*.py")
        for name in imported(source)
        if name.startswith(f"taskmill.{there}")
    ]
    assert found == []


def test_the_platform_imports_no_plugin() -> None:
    found = [
        f"{source.relative_to(ROOT)}: {name}"
        for source in PACKAGE.rglob("*.py")
        for name in imported(source)
        if name.startswith("taskmill_")
    ]
    assert found == []


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_nothing_is_pickled(module: str) -> None:
    assert [s.name for s in SOURCES for name in imported(s) if name.split(".")[0] == module] == []


def test_nothing_is_left_to_be_done_later() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    found = [f"{s.relative_to(ROOT)}" for s in SOURCES if words.search(s.read_text())]
    assert found == []


def test_models_have_no_foreign_keys_and_no_relationships() -> None:
    configure_mappers()
    assert [t.name for t in Base.metadata.tables.values() if t.foreign_keys] == []
    assert [mapper.class_.__name__ for mapper in Base.registry.mappers if list(mapper.relationships)] == []


@pytest.mark.anyio
async def test_the_migrated_database_has_no_foreign_keys_and_no_triggers(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    keys = await connection.fetch(
        "select conname from pg_constraint where contype = 'f' and connamespace = $1::regnamespace", SCHEMA
    )
    triggers = await connection.fetch(
        "select tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid "
        "where c.relnamespace = $1::regnamespace and not t.tgisinternal",
        SCHEMA,
    )
    tables = await connection.fetchval("select count(*) from pg_class where relnamespace = $1::regnamespace", SCHEMA)
    await connection.close()
    assert tables > 10
    assert (keys, triggers) == ([], [])


@pytest.mark.anyio
async def test_every_table_has_a_primary_key(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    bare = await connection.fetch(
        "select relname from pg_class c where relkind in ('r', 'p') and relnamespace = $1::regnamespace and not relispartition "
        "and not exists (select from pg_constraint where contype = 'p' and conrelid = c.oid)",
        SCHEMA,
    )
    await connection.close()
    assert bare == []
