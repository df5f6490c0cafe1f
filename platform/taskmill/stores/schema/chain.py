"""Chains of migrations, the core's and the plugins', and their phases.

A revision says `phase = "expand"` (the default: older programs go on working) or `phase = "contract"` (they no longer
do). Contract migrations run once no older program is left; what comes after one in the chain waits with it. A migration
after which older programs must not run sets `min_reader` of its chain in `taskmill.schema_info` to the oldest revision
that a program has to know; programs that know it accept a database that is ahead of them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "alembic_version"
HEAD = frozenset({"revision", "down_revision", "phase"})  # 一个版本文件开头说的


class Phase(StrEnum):
    """Which part of a chain to run."""

    EXPAND = "expand"
    CONTRACT = "contract"
    ALL = "all"


def migrations_dir() -> Path:
    """Return the folder of the core's migrations: the checkout's, else the wheel's copy."""
    checkout = Path(__file__).parents[4] / "migrations"
    return checkout if (checkout / "env.py").exists() else Path(str(files("taskmill") / "_migrations"))


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain: its name, the folder of its revisions (None: the core's) and the table that keeps where it stands."""

    name: str = "taskmill"
    versions: Path | None = None
    version_table: str = VERSION_TABLE

    def config(self) -> Config:
        """Return what alembic wants to know."""
        from alembic.config import Config  # noqa: PLC0415 - 它带着 SQLAlchemy，只看一眼的命令不该等它们

        config = Config()
        config.set_main_option("script_location", str(migrations_dir()))
        config.set_main_option("path_separator", "os")
        if self.versions is not None:
            config.set_main_option("version_locations", str(self.versions))
        config.attributes["version_table"] = self.version_table
        return config

    def revisions(self) -> tuple[str, ...]:
        """Return all revisions, the oldest first."""
        return tuple(_phases(self))

    def head(self) -> str:
        """Return the newest revision, empty if there is none."""
        return (self.revisions() or ("",))[-1]

    def phase_of(self, revision: str) -> Phase:
        """Return the phase that a revision belongs to."""
        return _phases(self)[revision]

    def file_of(self, revision: str) -> Path:
        """Return the file that a revision stands in."""
        from alembic.script import ScriptDirectory  # noqa: PLC0415 - 同上

        return Path(ScriptDirectory.from_config(self.config()).get_revision(revision).path)

    def pending(self, current: str | None) -> tuple[str, ...]:
        """Return the revisions after `current` (None: nothing has run)."""
        known = self.revisions()
        return known if current is None else known[known.index(current) + 1 :]

    def following(self, current: str | None) -> str:
        """Return the revision that comes next."""
        return (self.pending(current) or (self.head(),))[0]

    def between(self, before: str | None, after: str | None) -> tuple[str, ...]:
        """Return the revisions after `before` up to `after`."""
        if after is None:
            return ()
        later = self.pending(after)
        return tuple(revision for revision in self.pending(before) if revision not in later)

    def target(self, current: str | None, phase: Phase) -> str | None:
        """Return where a run of `phase` ends, None if there is nothing for it to do.

        `expand` stops before the first contract revision; `contract` runs what is left, but only from such a revision
        on: what has to be expanded first is left alone.
        """
        pending = self.pending(current)
        contracts = [index for index, revision in enumerate(pending) if self.phase_of(revision) is Phase.CONTRACT]
        if phase is Phase.EXPAND and contracts:
            pending = pending[: contracts[0]]
        if phase is Phase.CONTRACT and contracts[:1] != [0]:
            return None
        return pending[-1] if pending else None


CORE = Chain()


def chain_of(plugin: str, versions: Path) -> Chain:
    """Return the chain of a plugin; its revision is kept in a table of its own."""
    return Chain(plugin, versions, f"{VERSION_TABLE}_{plugin}")


@lru_cache(maxsize=32)
def _phases(chain: Chain) -> dict[str, Phase]:
    """各版本及其阶段，从旧到新。"""
    return _read_core() if chain.versions is None else _asked_of_alembic(chain)


def _read_core() -> dict[str, Phase]:
    """核心自己的链不分岔，头几行都是字面量：不执行就能读。契约测试把它与 alembic 读到的相比。"""
    after: dict[str | None, dict[str, str]] = {}
    for file in (migrations_dir() / "versions").glob("*.py"):
        said = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(file.read_bytes()).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in HEAD
        }
        after[said["down_revision"]] = said
    found: dict[str, Phase] = {}
    at: str | None = None
    while at in after:
        said = after[at]
        at = said["revision"]
        found[at] = Phase(said.get("phase", Phase.EXPAND))
    return found


def _asked_of_alembic(chain: Chain) -> dict[str, Phase]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - 同上

    script = ScriptDirectory.from_config(chain.config())
    script.get_current_head()  # 分了岔的链没有「最新」，在这里就说出来
    return {
        each.revision: Phase(getattr(each.module, "phase", Phase.EXPAND)) for each in reversed(list(script.walk_revisions()))
    }
