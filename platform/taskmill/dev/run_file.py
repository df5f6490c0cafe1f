"""`run.json`: how the command line finds a running `taskmill dev`; readable by its owner only."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME = "run.json"
OWNER_ONLY = 0o600  # 里面有令牌与密码


@contextmanager
def run_file(
    folder: Path, *, api_url: str, token: str, plugin_settings: Mapping[str, str] | None = None, **servers: str
) -> Iterator[Path]:
    """Write the file for as long as the process runs; a kill leaves it behind and the next start replaces it.

    `plugin_settings` are variables that the demo set for plugins, for those who work beside it. `servers` are more facts:
    the URLs of PostgreSQL and Valkey, with their passwords.
    """
    path = folder / NAME
    fresh = folder / f"{NAME}.new"
    facts: dict[str, object] = {"api_url": api_url, "token": token, "schema_url": f"{api_url}/schema", "pid": os.getpid()}
    facts |= servers
    if plugin_settings:
        facts["plugin_settings"] = dict(plugin_settings)
    fresh.unlink(missing_ok=True)
    # 创建时就限定权限，令牌一刻也不对别人可读
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as file:
        json.dump(facts, file, indent=2)
    fresh.replace(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def owner_of(folder: Path) -> tuple[int, str] | None:
    """Return pid and URL that the file tells, None if there is none or it is no whole one; the process may be gone."""
    try:
        facts = json.loads((folder / NAME).read_text())
        return int(facts["pid"]), str(facts["api_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
