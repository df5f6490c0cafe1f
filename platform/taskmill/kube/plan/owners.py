"""Who last wrote a field, as the API server keeps it in `managedFields`.

An admission policy that rewrites what we apply leaves the field ours; whoever changes it later takes it over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from taskmill.kube.state import Manifest


def owns(manifest: Manifest, manager: str, path: str) -> bool:
    """Say whether a manager of server-side apply owns the field at a path as `drift.differences` writes it."""
    entries = manifest["metadata"].get("managedFields") or ()
    ours = [entry for entry in entries if entry.get("manager") == manager and entry.get("operation") == "Apply"]
    return any(_covers(entry.get("fieldsV1") or {".": {}}, path) for entry in ours)


def _covers(fields: Mapping[str, Any], path: str) -> bool:
    if not path or not fields:  # 到了，或者再往下不分彼此
        return True
    below = ((child, _below(name, path)) for name, child in fields.items())
    return any(rest is not None and _covers(child, rest) for child, rest in below)


def _below(name: str, path: str) -> str | None:
    """走进一个字段（`f:`）或按键认的一项（`k:`）之后剩下的路径；不在这条路上就没有。"""
    kind, _, text = name.partition(":")
    if kind == "f" and path.startswith(text):
        rest = path[len(text) :]
        return rest.removeprefix(".") if rest[:1] in {"", ".", "["} else None
    if kind == "k":
        for value in json.loads(text).values():
            if path.startswith(f"[{value}]"):
                return path[len(f"[{value}]") :].removeprefix(".")
    return None
