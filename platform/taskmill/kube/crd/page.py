"""docs/reference/crds.md, from the schemas: what an author of manifests needs, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from taskmill.kube import names
from taskmill.kube.crd import documents as crds
from taskmill.kube.crd.schema import Schema

NOTE = "<!-- made by `make generate` from the code; do not edit -->"
INTRO = (
    f"API group `{names.GROUP}`, version `{names.VERSION}`. What is not required may be left out; the API server fills in the defaults, "
    "so `kubectl get -o yaml` shows what applies. `kubectl explain taskqueue.spec.scaling` says the same."
)
HEAD = ("field", "type", "default", "bounds", "meaning")


def page() -> str:
    """Return the page."""
    parts = [f"# Custom resources\n\n{NOTE}\n\n{INTRO}"]
    for crd in crds.documents().values():
        parts.extend(_kind(crd))
    return "\n\n".join(parts) + "\n"


def _kind(crd: dict[str, Any]) -> Iterator[str]:
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']}\n\n{root['description']} Short name `{names['shortNames'][0]}`."
    for part in ("spec", "status"):
        yield f"### {names['kind']} `{part}`\n\n{_table(HEAD, list(_rows(root['properties'][part], part)))}"
    rules = [[f"`{path}`", text] for path, text in _rules(root, "")]
    yield f"### {names['kind']} rules\n\n" + _table(("where", "refused with"), rules)
    columns = [
        [f"`{c['name']}`", c["description"], "`-o wide`" if c.get("priority") else ""]
        for c in version["additionalPrinterColumns"]
    ]
    yield f"### {names['kind']} columns of `kubectl get`\n\n" + _table(("column", "meaning", "shown"), columns)


def _rows(schema: Schema, path: str) -> Iterator[list[str]]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        default = "required" if name in required else _default(field)
        yield [f"`{place}`", _type(field), default, _bounds(field), field["description"]]
        if place.endswith(".conditions"):
            continue
        yield from _rows(field, place)
        yield from _rows(field.get("items", {}), f"{place}[]")


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field["type"] == "array":
        inner = field["items"]
        return f"list of {inner.get('type', 'any')}s"
    if "additionalProperties" in field:
        return "map"
    return "time" if field.get("format") == "date-time" else field["type"]


def _default(field: Schema) -> str:
    value = field.get("default")
    return "" if value is None or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _bounds(field: Schema) -> str:
    parts: list[str] = []
    if "enum" in field:
        parts.append(", ".join(f"`{value}`" for value in field["enum"]))
    if field.get("type") == "integer" and field.get("maximum", 2**31 - 1) < 2**31 - 1:
        parts.append(f"{field['minimum']} – {field['maximum']}")
    if "maxLength" in field and "enum" not in field and "x-kubernetes-int-or-string" not in field:
        parts.append(f"≤ {field['maxLength']} characters")
    parts.extend(f"≤ {field[key]} entries" for key in ("maxItems", "maxProperties") if key in field)
    return "; ".join(parts)


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for check in schema.get("x-kubernetes-validations", ()):
        yield (path + check.get("fieldPath", "")).lstrip(".") or "metadata.name", check["message"]
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
