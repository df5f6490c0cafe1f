"""TaskQueue and TaskSchedule as typed values. Defaults and bounds are the CRD's; a test compares the two."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from taskmill import constants as c

ENV_RESERVED = "TASKMILL_"
QUEUE_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?")
ZERO = (0, "0", "0%")

Name = Annotated[str, Meta(min_length=1, max_length=253)]
Pods = Annotated[int, Meta(ge=0, le=5000)]
SomePods = Annotated[int, Meta(ge=1, le=5000)]
Hour = Annotated[int, Meta(ge=1, le=3600)]
Share = Annotated[int, Meta(ge=0, le=5000)] | Annotated[str, Meta(pattern=r"^((100|[0-9]{1,2})%|[0-9]{1,4})$")]
Object = dict[str, Any]


class InvalidSpec(Exception):  # noqa: N818 - 与条件的 reason 同名
    """The spec cannot be carried out. The API server refuses such a spec, unless its CRD is of another version."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a spec. Fields of a newer CRD are ignored."""


class Reference(Record, frozen=True):
    """A Secret in the same namespace."""

    name: Name


class KeyReference(Reference, frozen=True):
    """One key of a Secret."""

    key: Name = "url"


class Connection(Record, frozen=True):
    """Where the tasks are."""

    database_secret_ref: KeyReference
    broker_secret_ref: KeyReference


class Plugin(Record, frozen=True):
    """A plugin that the workers load; the keys of the Secret are names of variables."""

    name: Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")]
    config: dict[str, str | bool | int | float] = field(default_factory=dict)
    config_secret_ref: Reference | None = None


class Objective(Record, frozen=True):
    """How long a task may wait."""

    start_latency_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 30
    percentile: Annotated[int, Meta(ge=50, le=99)] = 95


class ScaleUp(Record, frozen=True):
    """Brake on growing."""

    max_pods: SomePods | None = None
    period_seconds: Hour = 15


class ScaleDown(Record, frozen=True):
    """Brake on shrinking."""

    stabilization_seconds: Annotated[int, Meta(ge=0, le=3600)] = 60
    max_pods: SomePods | None = None
    period_seconds: Hour = 60


class Fallback(Record, frozen=True):
    """What to do while the backlog is unknown."""

    failure_threshold: Annotated[int, Meta(ge=1, le=100)] = 3
    behavior: Literal["Hold", "Static", "StaticIfHigher"] = "Hold"
    replicas: Pods | None = None


class Limits(Record, frozen=True):
    """What else bounds the number of pods."""

    database_connections: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Scaling(Record, frozen=True):
    """`spec.scaling`."""

    mode: Literal["Auto", "Manual", "External"] = "Auto"
    min_replicas: Pods = 0
    max_replicas: SomePods = 10
    objective: Objective = Objective()
    max_utilization: Annotated[int, Meta(ge=10, le=100)] = 90
    idle_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 300
    prewarm: Literal["Auto", "Off"] = "Auto"
    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()
    fallback: Fallback = Fallback()
    limits: Limits = Limits()
    dry_run: bool = False


class Drain(Record, frozen=True):
    """`spec.drain`."""

    timeout_seconds: Annotated[int, Meta(ge=0, le=604_800)] = 600
    on_timeout: Literal["Requeue", "KeepWaiting"] = "Requeue"


class Update(Record, frozen=True):
    """`spec.update`."""

    max_surge: Share = "25%"
    max_unavailable: Share = 0
    restart_on_secret_change: bool = True


class Migration(Record, frozen=True):
    """`spec.migration`."""

    policy: Literal["Auto", "Manual", "Skip"] = "Auto"
    backoff_limit: Annotated[int, Meta(ge=0, le=20)] = 3
    active_deadline_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 1800
    allow_schema_ahead: bool = False


class Pod(Record, frozen=True):
    """`spec.pod`; what Kubernetes itself validates stays as it is."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    resources: Object = field(default_factory=dict)
    env: list[Object] = field(default_factory=list)
    env_from: list[Object] = field(default_factory=list)
    volumes: list[Object] = field(default_factory=list)
    volume_mounts: list[Object] = field(default_factory=list)
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: list[Object] = field(default_factory=list)
    affinity: Object | None = None
    topology_spread_constraints: list[Object] | None = None
    service_account_name: Name | None = None
    priority_class_name: Name | None = None
    runtime_class_name: Name | None = None
    security_context: Object | None = None
    container_security_context: Object | None = None
    overrides: Object = field(default_factory=dict)


class Disruption(Record, frozen=True):
    """`spec.disruption`."""

    enabled: bool = True
    max_unavailable: SomePods = 1


class TaskQueueSpec(Record, frozen=True):
    """`spec` of a TaskQueue."""

    connection: Connection
    queue_name: Annotated[str, Meta(min_length=1, max_length=c.NAME_MAX_CHARS)] | None = None
    image: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: list[Reference] = field(default_factory=list)
    concurrency: Annotated[int, Meta(ge=1, le=c.CONCURRENCY_MAX)] = c.CONCURRENCY_DEFAULT
    plugins: list[Plugin] | None = None
    stop_policy: Literal["None", "Hold", "HoldAndDrain"] = "None"
    retention_seconds: Annotated[int, Meta(ge=0, le=315_360_000)] | None = None
    replicas: Pods | None = None
    scaling: Scaling = Scaling()
    drain: Drain = Drain()
    update: Update = Update()
    migration: Migration = Migration()
    pod: Pod = Pod()
    disruption: Disruption = Disruption()
    deletion_policy: Literal["Drain", "Delete", "Orphan"] = "Drain"


class TaskScheduleSpec(Record, frozen=True):
    """`spec` of a TaskSchedule."""

    connection: Connection
    kind: Annotated[str, Meta(min_length=1, max_length=c.NAME_MAX_CHARS)]
    schedule_name: Annotated[str, Meta(min_length=1, max_length=c.NAME_MAX_CHARS)] | None = None
    args: Object = field(default_factory=dict)
    cron: Annotated[str, Meta(min_length=1, max_length=c.CRON_MAX_CHARS)] | None = None
    interval_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] | None = None
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    queue: Annotated[str, Meta(min_length=1, max_length=c.NAME_MAX_CHARS)] | None = None
    priority: Annotated[int, Meta(ge=min(c.PRIORITIES), le=max(c.PRIORITIES))] | None = None
    catch_up_seconds: Annotated[int, Meta(ge=0, le=int(c.CATCH_UP_MAX_S))] = int(c.CATCH_UP_DEFAULT_S)
    suspend: bool = False


S = TypeVar("S", TaskQueueSpec, TaskScheduleSpec)


@dataclass(frozen=True, slots=True)
class Custom(Generic[S]):
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
    status: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return `namespace/name`."""
        return f"{self.namespace}/{self.name}"


TaskQueue = Custom[TaskQueueSpec]
TaskSchedule = Custom[TaskScheduleSpec]


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
    queue = _parse(manifest, TaskQueueSpec)
    _check_queue(queue.spec)
    return queue


def parse_schedule(manifest: Mapping[str, Any]) -> TaskSchedule:
    """Return the TaskSchedule of a manifest; raises InvalidSpec that names the field."""
    schedule = _parse(manifest, TaskScheduleSpec)
    if (schedule.spec.cron is None) == (schedule.spec.interval_seconds is None):
        raise InvalidSpec("spec.cron: give cron or intervalSeconds, exactly one of them")
    return schedule


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


def _parse(manifest: Mapping[str, Any], kind: type[S]) -> Custom[S]:
    metadata: Mapping[str, Any] = manifest.get("metadata") or {}
    try:
        spec = msgspec.convert(manifest.get("spec") or {}, kind)
    except msgspec.ValidationError as error:
        raise InvalidSpec(_readable(str(error))) from error
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
        status=manifest.get("status") or {},
    )


def _readable(message: str) -> str:
    """把 “… - at `$.scaling.mode`” 变成 “spec.scaling.mode: …”。"""
    reason, _, path = message.partition(" - at `$")
    return f"spec{path.rstrip('`')}: {reason}"


def _check_queue(spec: TaskQueueSpec) -> None:
    """跨字段的规则，与 CRD 的 CEL 相同。"""
    scaling, fallback = spec.scaling, spec.scaling.fallback
    wrong = {
        "spec.scaling.minReplicas: must not be above maxReplicas": scaling.min_replicas > scaling.max_replicas,
        "spec.scaling.fallback.replicas: needed for this behavior": fallback.behavior != "Hold"
        and fallback.replicas is None,
        "spec.scaling.fallback.replicas: must not be above maxReplicas": (fallback.replicas or 0) > scaling.max_replicas,
        "spec.scaling.dryRun: only in mode Auto": scaling.dry_run and scaling.mode != "Auto",
        "spec.update: maxSurge and maxUnavailable must not both be 0": (
            spec.update.max_surge in ZERO and spec.update.max_unavailable in ZERO
        ),
        f"spec.pod.env: names beginning with {ENV_RESERVED} are set by the operator": any(
            str(variable.get("name", "")).startswith(ENV_RESERVED) for variable in spec.pod.env
        ),
        "spec.queueName: lower-case letters, digits, . _ - only": (
            spec.queue_name is not None and QUEUE_NAME.fullmatch(spec.queue_name) is None
        ),
    }
    for reason, is_wrong in wrong.items():
        if is_wrong:
            raise InvalidSpec(reason)
