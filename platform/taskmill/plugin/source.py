"""Where plugins come from: installed distributions, modules named in the settings, objects given by the caller."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points

from taskmill import reasons
from taskmill.errors import UnfitError
from taskmill.plugin import constants as c


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that may be loaded. `load` imports it and may raise anything; `guessed` says that `name` is a guess.

    `distribution` and `version` are empty for a plugin that is not installed.
    """

    name: str
    load: Callable[[], object]
    distribution: str = ""
    version: str = ""
    guessed: bool = False


def candidates(modules: Sequence[str], extra: Mapping[str, object]) -> Iterator[Candidate]:
    """Yield installed plugins by name, then `modules` (import paths) and `extra` (name → object) in their order."""
    found: dict[tuple[str, str], EntryPoint] = {}
    for entry in entry_points(group=c.PLUGIN_GROUP):
        found.setdefault((entry.name, entry.value), entry)  # 同一发行版可能在 sys.path 上出现两次
    for _, entry in sorted(found.items()):
        distribution = entry.dist
        if distribution is None:
            yield Candidate(entry.name, entry.load)
        else:
            yield Candidate(entry.name, entry.load, distribution.name, distribution.version)
    for path in modules:
        name = path.removesuffix(".plugin").rpartition(".")[2]
        yield Candidate(name, partial(_imported, path), guessed=True)
    for name, plugin in extra.items():
        yield Candidate(name, partial(_given, plugin))


def _imported(path: str) -> object:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # 模块在，是它自己导入的东西不在
        raise UnfitError(reasons.NO_MODULE(name=error.name)) from error


def _given(plugin: object) -> object:
    return plugin
