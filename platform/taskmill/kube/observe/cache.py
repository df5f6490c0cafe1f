"""What the API server last said, as plain dicts per kind: the operator reads from here, never from the server.

Only fields that somebody reads are kept. The newest resource version wins, whoever brings it: the watch, a full list,
or the answer to a write of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.state import Manifest

Name = tuple[str, str]  # (命名空间, 名字)
POD_SPEC = ("nodeName", "terminationGracePeriodSeconds")


def name_of(manifest: Manifest) -> Name:
    """Return namespace and name."""
    metadata = manifest["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(manifest: Manifest) -> int:
    """Return the resource version as the number that it is in every real API server; 0 without."""
    text = manifest["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0


def scaler_owns_replicas(manifest: Manifest) -> bool:
    """Say whether `taskmill-scaler` owns `spec.replicas`."""
    return any(
        entry.get("manager") == names.SCALER and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in manifest["metadata"].get("managedFields") or ()
    )


def slim(kind: Kind, manifest: Manifest) -> Manifest:
    """Return the manifest without what nobody reads; the original stays as it is."""
    kept = dict(manifest)
    kept["metadata"] = {
        key: value for key, value in manifest["metadata"].items() if key not in {"managedFields", "selfLink"}
    }
    kept.setdefault("apiVersion", kind.api_version)
    kept.setdefault("kind", kind.kind)
    spec = manifest.get("spec") or {}
    if kind is k.POD:
        kept["spec"] = {key: spec[key] for key in POD_SPEC if key in spec}
    elif kind is k.REPLICA_SET:
        kept["spec"] = {**spec, "template": {"metadata": (spec.get("template") or {}).get("metadata") or {}}}
    return kept


@dataclass(slots=True)
class _Shelf:
    objects: dict[Name, Manifest] = field(default_factory=dict)
    groups: dict[Name, set[Name]] = field(default_factory=dict)  # (命名空间, 组) → 对象
    gone: dict[Name, int] = field(default_factory=dict)  # 刚删掉的对象的版本，免得慢到的列表让它复活


Grouper = Callable[[Manifest], Iterable[str]]


class Cache:
    """Objects by kind and name, and by the groups that `groupers` put them in (a queue, a database, a Secret)."""

    def __init__(self, groupers: dict[Kind, Grouper]) -> None:
        self._groupers = groupers
        self._shelves: dict[Kind, _Shelf] = {kind: _Shelf() for kind in k.WATCHED}
        self._scaler_owned: set[Name] = set()
        self._rewritten: dict[tuple[Kind, Name], frozenset[tuple[str, str]]] = {}

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return one object or None."""
        return self._shelves[kind].objects.get((namespace, name))

    def all(self, kind: Kind) -> Iterable[Manifest]:
        """Return every object of a kind."""
        return self._shelves[kind].objects.values()

    def names(self, kind: Kind) -> list[Name]:
        """Return the names of every object of a kind."""
        return list(self._shelves[kind].objects)

    def group(self, kind: Kind, namespace: str, group: str) -> tuple[Manifest, ...]:
        """Return the objects of one group, by name."""
        shelf = self._shelves[kind]
        return tuple(shelf.objects[name] for name in sorted(shelf.groups.get((namespace, group), ())))

    def group_names(self, kind: Kind) -> set[Name]:
        """Return all groups of a kind that have members."""
        return set(self._shelves[kind].groups)

    def scaler_owns(self, namespace: str, name: str) -> bool:
        """Say whether the scaler owns the replicas of this Deployment."""
        return (namespace, name) in self._scaler_owned

    def rewrote(self, kind: Kind, answer: Manifest, fields: Iterable[tuple[str, str]]) -> None:
        """Note which fields of what we applied came back otherwise: an admission policy rewrites them, and would again."""
        self._rewritten[kind, name_of(answer)] = frozenset(fields)

    def rewritten(self, kind: Kind, manifest: Manifest | None) -> frozenset[tuple[str, str]] | None:
        """Return those of an object; None if we have not applied it since we began, and do not know."""
        return self._rewritten.get((kind, name_of(manifest))) if manifest is not None else frozenset()

    def put(self, kind: Kind, manifest: Manifest) -> bool:
        """Take in an object; False if what we have is as new."""
        shelf, name, version = self._shelves[kind], name_of(manifest), version_of(manifest)
        old = shelf.objects.get(name)
        same = old is not None and old["metadata"].get("uid") == manifest["metadata"].get("uid")
        if version and ((same and old is not None and version_of(old) >= version) or shelf.gone.get(name, 0) >= version):
            return False
        if kind is k.DEPLOYMENT and "managedFields" in manifest["metadata"]:
            (self._scaler_owned.add if scaler_owns_replicas(manifest) else self._scaler_owned.discard)(name)
        self._ungroup(kind, name, old)
        kept = shelf.objects[name] = slim(kind, manifest)
        for group in self._groups(kind, kept):
            shelf.groups.setdefault((name[0], group), set()).add(name)
        return True

    def scaled(self, namespace: str, name: str, answer: Manifest) -> None:
        """Take in the answer to a write of `/scale`: it carries the Deployment's new resource version."""
        old = self.get(k.DEPLOYMENT, namespace, name)
        if old is None or answer["metadata"].get("uid") != old["metadata"].get("uid"):
            return
        # 版本记小一号：答复不是整个对象，看守送来的同一版仍要收下，它可能带着我们还没见过的改动
        version = str(max(0, version_of(answer) - 1))
        metadata = {**old["metadata"], "resourceVersion": version}
        spec = {**old["spec"], "replicas": int((answer.get("spec") or {}).get("replicas") or 0)}
        if spec["replicas"] != old["spec"].get("replicas"):
            metadata["generation"] = int(metadata.get("generation") or 0) + 1
        if self.put(k.DEPLOYMENT, {**old, "metadata": metadata, "spec": spec}):
            self._scaler_owned.add((namespace, name))

    def remove(self, kind: Kind, manifest: Manifest) -> bool:
        """Take out an object that was deleted; False if a newer one of this name is here."""
        shelf, name = self._shelves[kind], name_of(manifest)
        old = shelf.objects.get(name)
        shelf.gone[name] = max(version_of(manifest), shelf.gone.get(name, 0))
        if old is None or version_of(old) > version_of(manifest):
            return False
        self._drop(kind, name, old)
        return True

    def replace(self, kind: Kind, namespace: str, items: list[Manifest], version: str) -> list[Manifest]:
        """Take in a full list of one namespace (empty: of all); returns the objects that came, changed or went."""
        shelf, listed = self._shelves[kind], {name_of(item) for item in items}
        changed = [item for item in items if self.put(kind, item)]
        limit = int(version) if version.isdigit() else 0
        for name, old in list(shelf.objects.items()):
            if (not namespace or name[0] == namespace) and name not in listed and version_of(old) <= limit:
                self._drop(kind, name, old)
                changed.append(old)
        # 别的命名空间的列表可能取得更早、到得更晚：它们的还要留着
        shelf.gone = {
            name: seen for name, seen in shelf.gone.items() if seen > limit or (namespace and name[0] != namespace)
        }
        return changed

    def _drop(self, kind: Kind, name: Name, old: Manifest) -> None:
        """连同记着的一起忘掉：同名的新对象要从头认起。"""
        self._ungroup(kind, name, old)
        del self._shelves[kind].objects[name]
        self._rewritten.pop((kind, name), None)
        if kind is k.DEPLOYMENT:
            self._scaler_owned.discard(name)

    def _groups(self, kind: Kind, manifest: Manifest) -> Iterable[str]:
        grouper = self._groupers.get(kind)
        return grouper(manifest) if grouper is not None else ()

    def _ungroup(self, kind: Kind, name: Name, old: Manifest | None) -> None:
        if old is None:
            return
        groups = self._shelves[kind].groups
        for group in self._groups(kind, old):
            members = groups.get((name[0], group))
            if members is not None:
                members.discard(name)
                if not members:
                    del groups[name[0], group]
