"""TaskQueue and TaskSchedule as typed objects: metadata, spec and status of a manifest."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from taskmill.kube.crd.check import check, convert
from taskmill.kube.crd.status import QueueStatus
from taskmill.kube.crd.task_queue import TaskQueueSpec
from taskmill.kube.crd.task_schedule import ScheduleStatus, TaskScheduleSpec

S = TypeVar("S", TaskQueueSpec, TaskScheduleSpec)
T = TypeVar("T", QueueStatus, ScheduleStatus)


@dataclass(frozen=True, slots=True)
class Custom(Generic[S, T]):
    """An object of ours: what its metadata says, its typed spec, its status as it was last written."""

    name: str
    namespace: str
    uid: str
    generation: int
    created_at: datetime
    deleted_at: datetime | None
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    spec: S
    status: T

    @property
    def key(self) -> str:
        """Return `namespace/name`."""
        return f"{self.namespace}/{self.name}"


TaskQueue = Custom[TaskQueueSpec, QueueStatus]
TaskSchedule = Custom[TaskScheduleSpec, ScheduleStatus]


def canonical(value: Any) -> Any:
    """Return a part of a spec as plain values without what equals its default.

    So a hash of it is the same before and after a newer CRD brings a new field with a default.
    """
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return value
    plain = {wire: (canonical(getattr(value, name)), default) for wire, name, default in _fields(type(value))}
    return {wire: made for wire, (made, default) in plain.items() if made != default}


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> tuple[tuple[str, str, Any], ...]:
    """线上的名字、属性名、默认值；msgspec 每次都重新解析类型注解，而这里每轮都要问。"""
    return tuple((known.encode_name, known.name, canonical(_default(known))) for known in msgspec.structs.fields(struct))


def _default(known: msgspec.structs.FieldInfo) -> Any:
    if known.default_factory is not msgspec.NODEFAULT:
        return known.default_factory()
    return known.default


def parse_time(text: str | None) -> datetime | None:
    """Return a time of the API server, None for none."""
    return datetime.fromisoformat(text) if text else None


def parse_queue(manifest: Mapping[str, Any]) -> TaskQueue:
    """Return the TaskQueue of a manifest; raises InvalidSpec that names the field."""
    return _parse(manifest, TaskQueueSpec, queue_status(manifest))


def parse_schedule(manifest: Mapping[str, Any]) -> TaskSchedule:
    """Return the TaskSchedule of a manifest; raises InvalidSpec that names the field."""
    return _parse(manifest, TaskScheduleSpec, schedule_status(manifest))


def queue_status(manifest: Mapping[str, Any]) -> QueueStatus:
    """Return the status of a TaskQueue as it was last written; one that makes no sense counts as none."""
    return _status(manifest, QueueStatus)


def schedule_status(manifest: Mapping[str, Any]) -> ScheduleStatus:
    """Return the status of a TaskSchedule as it was last written; one that makes no sense counts as none."""
    return _status(manifest, ScheduleStatus)


def queue_name(queue: TaskQueue) -> str:
    """Return the name of the queue in the database."""
    return queue.spec.queue_name or queue.name


def schedule_name(schedule: TaskSchedule) -> str:
    """Return the name of the schedule in the database."""
    return schedule.spec.schedule_name or schedule.name


@dataclass(frozen=True, slots=True)
class Named:
    """A Secret or ConfigMap whose content reaches the workers; `key` None: all of it."""

    kind: str
    name: str
    key: str | None = None
    optional: bool = False


def named(queue: TaskQueue) -> list[Named]:
    """Return every Secret and ConfigMap that a spec names: connection, plugins, env, envFrom, volumes, projected volumes."""
    spec = queue.spec
    connection = (spec.connection.database_secret_ref, spec.connection.broker_secret_ref)
    found = [Named("Secret", ref.name, ref.key) for ref in connection]
    found += [Named("Secret", plugin.config_secret_ref.name) for plugin in spec.plugins or () if plugin.config_secret_ref]
    for source in spec.pod.env_from:
        found += _named(source, "secretRef", "configMapRef")
    for variable in spec.pod.env:
        found += _named(variable.get("valueFrom") or {}, "secretKeyRef", "configMapKeyRef")
    for volume in spec.pod.volumes:
        found += _named(volume, "secret", "configMap")
        for source in (volume.get("projected") or {}).get("sources") or ():
            found += _named(source, "secret", "configMap")
    return found


def _named(source: Mapping[str, Any], secret: str, config_map: str) -> list[Named]:
    pairs = (("Secret", source.get(secret)), ("ConfigMap", source.get(config_map)))
    return [
        Named(kind, str(ref.get("secretName") or ref.get("name")), ref.get("key"), bool(ref.get("optional")))
        for kind, ref in pairs
        if isinstance(ref, Mapping) and (ref.get("secretName") or ref.get("name"))
    ]


def secret_names(queue: TaskQueue) -> tuple[str, ...]:
    """Return the names of all Secrets whose content reaches the workers, sorted."""
    return tuple(sorted({each.name for each in named(queue) if each.kind == "Secret"}))


def config_map_names(queue: TaskQueue) -> tuple[str, ...]:
    """Return the names of all ConfigMaps whose content reaches the workers, sorted."""
    return tuple(sorted({each.name for each in named(queue) if each.kind == "ConfigMap"}))


def _status(manifest: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(manifest.get("status") or {}, kind)
    except msgspec.ValidationError:
        return kind()


def _parse(manifest: Mapping[str, Any], kind: type[S], status: T) -> Custom[S, T]:
    metadata: Mapping[str, Any] = manifest.get("metadata") or {}
    spec: S = convert(manifest.get("spec") or {}, kind, "spec")
    check(spec, "spec")
    return Custom(
        name=str(metadata["name"]),
        namespace=str(metadata["namespace"]),
        uid=str(metadata.get("uid") or ""),
        generation=int(metadata.get("generation") or 0),
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleted_at=parse_time(metadata.get("deletionTimestamp")),
        annotations=metadata.get("annotations") or {},
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=spec,
        status=status,
    )
