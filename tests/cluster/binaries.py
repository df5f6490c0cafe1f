"""Where the programs of the control plane are: `KUBEBUILDER_ASSETS` if it has them, else what `make controlplane` built."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.cluster import build

ASSETS = "KUBEBUILDER_ASSETS"


def find(name: str) -> Path | None:
    """Return the program `name`, None if nobody has it."""
    places = [build.folder()]
    if assets := os.environ.get(ASSETS):
        places.insert(0, Path(assets).resolve())
    return next((place / name for place in places if (place / name).is_file()), None)


def absent() -> list[str]:
    """Return the names of the programs that are not there."""
    return [name for name in build.BINARIES if find(name) is None]


def program(name: str) -> str:
    """Return the path of `name`. Raises LookupError naming the make target that builds it."""
    return _given(name, find(name))


def client(name: str) -> str:
    """Return `kubectl` or `helm`; the one on PATH will do, for a given cluster. Raises LookupError."""
    return _given(name, find(name) or shutil.which(name))


def _given(name: str, found: Path | str | None) -> str:
    if found is None:
        raise LookupError(f"{name} is missing; `make controlplane` provides it")
    return str(found)
