"""What comes from the API server goes into the caches, and wakes the objects that it concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.crd.model import queue_name
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.cache import name_of
from taskmill.kube.observe.facts import Facts
from taskmill.kube.state import Manifest

DELETED = "DELETED"
ENDS = {"Complete": "succeeded", "Failed": "failed"}


class Intake:
    """`wake` has an object reconciled."""

    def __init__(self, facts: Facts, wake: Callable[[Key], None], metrics: Metrics) -> None:
        self._facts, self._wake, self._metrics = facts, wake, metrics
        facts.secrets.changed = facts.config_maps.changed = self._report

    def event(self, kind: Kind, change: str, manifest: Manifest) -> None:
        """Take in one event of a watch; `change` is empty for what the first list had."""
        if kind is k.SECRET:
            self._secret(manifest, gone=change == DELETED)
            return
        before = self._facts.cache.get(kind, manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])
        gone = change == DELETED
        new = self._facts.cache.remove(kind, manifest) if gone else self._facts.cache.put(kind, manifest)
        if new and (gone or before is None or _matters(kind, before, manifest)):
            self._concern(kind, manifest, before)

    def replace(self, kind: Kind, namespace: str, items: list[Manifest], version: str) -> None:
        """Take in a full list."""
        if kind is k.SECRET:
            for item in items:
                self._secret(item, gone=False)
            # 看守不在时删掉的、去掉标签的，它不会再说
            for name in self._facts.secrets.unlisted(namespace, {name_of(item) for item in items}):
                self._report(*name)
            return
        for manifest in self._facts.cache.replace(kind, namespace, items, version):
            self._concern(kind, manifest, None)

    def _secret(self, manifest: Manifest, *, gone: bool) -> None:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        secrets = self._facts.secrets
        # 标签被去掉时看守也说「删了」：当作未知，用到时按名字再读
        news = secrets.unknown(namespace, name) if gone else secrets.put(manifest)
        if news:
            self._report(namespace, name)

    def _report(self, namespace: str, name: str) -> None:
        for kind in (k.TASK_QUEUE, k.TASK_SCHEDULE):
            for each in self._facts.cache.group(kind, namespace, name):
                self._wake(Key.of(kind, each))

    def _concern(self, kind: Kind, manifest: Manifest, before: Manifest | None) -> None:
        for key in self._keys(kind, manifest):
            self._wake(key)
        if kind is k.JOB:
            self._count(manifest, before)

    def _keys(self, kind: Kind, manifest: Manifest) -> Iterable[Key]:
        namespace = manifest["metadata"]["namespace"]
        if kind in (k.TASK_QUEUE, k.TASK_SCHEDULE):
            key = Key.of(kind, manifest)
            yield key
            if kind is k.TASK_QUEUE and self._facts.cache.get(kind, namespace, key.name) is None:
                yield from self._rivals(key, manifest)
            return
        if owner := names.label(manifest, names.LABEL_QUEUE):
            yield Key.queue(namespace, owner)
        elif database := names.label(manifest, names.LABEL_DATABASE):
            for identity, link in self._facts.databases.links.items():
                if identity.startswith(database):
                    yield from (user for user in link.users if isinstance(user, Key) and user.namespace == namespace)

    def _rivals(self, key: Key, manifest: Manifest) -> Iterable[Key]:
        """一个 TaskQueue 没了，争同一个队列名的可以上位。"""
        link = self._facts.databases.of(key)
        own = str((manifest.get("spec") or {}).get("queueName") or key.name)
        for user in link.users if link is not None else ():
            if isinstance(user, Key) and user.kind is k.TASK_QUEUE and user != key:
                parsed = self._facts.parsed(user)
                if parsed is not None and queue_name(parsed) == own:
                    yield user

    def _count(self, manifest: Manifest, before: Manifest | None) -> None:
        ended = _end(manifest)
        if before is not None and ended and not _end(before):
            self._metrics.migrations.labels(names.label(manifest, names.LABEL_PHASE), ended).inc()


def _matters(kind: Kind, before: Manifest, after: Manifest) -> bool:
    """一个 Job 和它的 Pod 关系到库上的所有队列：只在读得出不同时才叫醒它们。"""
    if kind is k.JOB or (kind is k.POD and names.label(after, names.LABEL_DATABASE)):
        return _telling(before) != _telling(after)
    return True


def _telling(manifest: Manifest) -> tuple[object, ...]:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    told = tuple(status.get(key) for key in ("conditions", "startTime", "completionTime", "phase", "containerStatuses"))
    suspended = (manifest.get("spec") or {}).get("suspend")
    return (*told, suspended, metadata.get("deletionTimestamp"), metadata.get("annotations"))


def _end(job: Manifest) -> str:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ENDS:
            return ENDS[condition["type"]]
    return ""
