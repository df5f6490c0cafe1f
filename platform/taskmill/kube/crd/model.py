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


def secret_names(queue: TaskQueue) -> tuple[str, ...]:
    """Return the names of all Secrets whose content reaches the workers, sorted."""
    spec = queue.spec
    found = {spec.connection.database_secret_ref.name, spec.connection.broker_secret_ref.name}
    found |= {plugin.config_secret_ref.name for plugin in spec.plugins or () if plugin.config_secret_ref}
    refs = [source.get("secretRef") for source in spec.pod.env_from]
    refs += [(variable.get("valueFrom") or {}).get("secretKeyRef") for variable in spec.pod.env]
    found |= {str(ref["name"]) for ref in refs if ref and ref.get("name")}
    return tuple(sorted(found))


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
