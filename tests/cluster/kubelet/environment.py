"""The environment of a container."""

from __future__ import annotations

from collections.abc import Mapping

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.expand import expand
from tests.cluster.kubelet.fields import field, resource
from tests.cluster.kubelet.references import References


async def environment(
    pod: Json,
    container: Json,
    references: References,
    *,
    base: Mapping[str, str],
    addresses: Mapping[str, str],
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """Return `base`, then envFrom in order, then env in order; raises ConfigError if something named is missing."""
    values = dict(base)
    for source in container.get("envFrom") or []:
        for kind, plural in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if reference := source.get(kind):
                optional = bool(reference.get("optional"))
                data = await references.data(plural, reference.get("name", ""), optional=optional) or {}
                values |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for entry in container.get("env") or []:
        value = await _value(pod, container, entry, references, values, addresses, allocatable)
        if value is not None:
            values[entry["name"]] = value
    return values


async def _value(
    pod: Json,
    container: Json,
    entry: Json,
    references: References,
    values: Mapping[str, str],
    addresses: Mapping[str, str],
    allocatable: Mapping[str, str],
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", values)
    if reference := source.get("fieldRef"):
        return field(pod, reference["fieldPath"], addresses)
    if reference := source.get("resourceFieldRef"):
        return resource(container, reference, allocatable)
    if reference := source.get("secretKeyRef"):
        return await references.key("secrets", reference)
    return await references.key("configmaps", source["configMapKeyRef"])
