"""Whether a live object still is what was applied: fields that we sent are compared, all others are left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from taskmill.kube import names
from taskmill.kube.render.pod import MERGE_KEYS
from taskmill.kube.state import Manifest

SUFFIXES: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
QUANTITIES: Final = frozenset({"limits", "requests", "sizeLimit", "divisor"})  # 服务器会换一种写法


Difference = tuple[str, str]


def is_current(desired: Manifest, live: Manifest) -> bool:
    """Say whether the object was last written as `desired`."""
    return names.annotation(desired, names.APPLIED_HASH) == names.annotation(live, names.APPLIED_HASH)


def differences(desired: Manifest, live: Manifest) -> list[Difference]:
    """Return the fields in `desired` that the live object has differently: their paths, and what it has as JSON text."""
    return list(_differences({key: desired[key] for key in desired if key not in {"apiVersion", "kind"}}, live, "", ""))


def owns(manifest: Manifest, manager: str, path: str) -> bool:
    """Say whether a manager of server-side apply owns the field at a path as `differences` writes it, by `managedFields`.

    An admission policy that rewrites what we apply leaves the field ours; whoever changes it later takes it over.
    """
    entries = manifest["metadata"].get("managedFields") or ()
    ours = [entry for entry in entries if entry.get("manager") == manager and entry.get("operation") == "Apply"]
    return any(_covers(entry.get("fieldsV1") or {".": {}}, path) for entry in ours)


def _differences(desired: Any, live: Any, path: str, name: str) -> Iterator[Difference]:
    if isinstance(desired, Mapping) and (isinstance(live, Mapping) or live is None):
        for key, value in desired.items():
            at = f"{path}.{key}" if path else str(key)
            below = name if name in QUANTITIES else str(key)
            yield from _differences(value, (live or {}).get(key), at, below)
    elif isinstance(desired, list) and (isinstance(live, list) or live is None):
        yield from _lists(desired, live or [], path, name)
    elif not _same(desired, live, name):
        yield path, _text(live)


def _lists(desired: Sequence[Any], live: Sequence[Any], path: str, name: str) -> Iterator[Difference]:
    key = "uid" if name == "ownerReferences" else MERGE_KEYS.get(name)
    if key is not None:
        by_key = {item.get(key): item for item in live}
        for item in desired:
            yield from _differences(item, by_key.get(item.get(key)), f"{path}[{item.get(key)}]", "")
    elif len(desired) != len(live):
        yield path, _text(live)
    else:
        for index, (ours, theirs) in enumerate(zip(desired, live, strict=True)):
            yield from _differences(ours, theirs, f"{path}[{index}]", "")


def _text(live: Any) -> str:
    return msgspec.json.encode(live, order="deterministic").decode()


def _same(desired: Any, live: Any, name: str) -> bool:
    if desired == live or (not desired and not live):  # 服务器不存空值
        return True
    if name in QUANTITIES:
        ours, theirs = _quantity(desired), _quantity(live)
        return ours is not None and ours == theirs
    return False


def _quantity(value: Any) -> Decimal | None:
    text = str(value)
    number = text.rstrip("EPTGMkiKmun") if not text.endswith(("e", "E")) else text[:-1]
    factor = SUFFIXES.get(text[len(number) :])
    try:
        return None if factor is None else Decimal(number) * factor
    except InvalidOperation:
        return None


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
        for value in msgspec.json.decode(text).values():
            if path.startswith(f"[{value}]"):
                return path[len(f"[{value}]") :].removeprefix(".")
    return None
