"""Static files: read and compressed once, served with the hash of their content in the address, so that browsers may keep them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

STATIC = Path(str(files("taskmill.dashboard") / "static"))
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_HASH_CHARS = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    packed: bytes
    media_type: str
    version: str


class Assets:
    """All files by name; other names do not exist, whatever they look like."""

    def __init__(self, found: dict[str, Asset]) -> None:
        self._found = found

    @classmethod
    def load(cls) -> Assets:
        """Read the files of the package."""
        paths = [path for path in STATIC.rglob("*") if path.suffix in TYPES]
        return cls({path.relative_to(STATIC).as_posix(): _read(path) for path in paths})

    def get(self, name: str) -> Asset | None:
        """Return a file, None if there is none."""
        return self._found.get(name)

    def address(self, name: str) -> str:
        """Return the address of a file below the dashboard; KeyError if there is none."""
        return f"static/{name}?v={self._found[name].version}"


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    version = hashlib.sha256(body).hexdigest()[:_HASH_CHARS]
    return Asset(body, gzip.compress(body, mtime=0), TYPES[path.suffix], version)
