"""The downward API: what a pod may read about itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from tests.cluster.kubelet.api import Json

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_UNITS = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


def field(pod: Json, path: str, addresses: Mapping[str, str]) -> str:
    """Return the value of a fieldRef; `addresses` has podIP and hostIP, which the status may not show yet."""
    meta, spec = pod["metadata"], pod["spec"]
    if match := _KEYED.fullmatch(path):
        return meta.get(match[1], {}).get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        values: dict[str, str] = meta.get(path.partition(".")[2], {})
        return "".join(f'{key}="{value}"\n' for key, value in sorted(values.items()))
    known = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": addresses["podIP"],
        "status.podIPs": addresses["podIP"],
        "status.hostIP": addresses["hostIP"],
        "status.hostIPs": addresses["hostIP"],
    }
    return known[path]


def quantity(text: str) -> Decimal:
    """Return the number that a resource quantity stands for; raises ValueError."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(text)
    return Decimal(match[1]) * _UNITS[match[2]]


def resource(container: Json, reference: Json, allocatable: Mapping[str, str]) -> str:
    """Return the value of a resourceFieldRef; a limit that is not set is that of the node, a request 0."""
    which, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(which) or {}).get(name)
    if value is None:
        value = allocatable.get(name, "0") if which == "limits" else "0"
    divisor = quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(quantity(value) / divisor))
