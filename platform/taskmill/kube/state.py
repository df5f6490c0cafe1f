"""The seam between what the operator sees and what it decides: facts in, actions out, nothing hidden between.

The runtime collects a `State` per TaskQueue from its caches and the queue's database; `plan()` is a pure function of it.
Everything `plan()` needs is here, and everything it wants done is an `Action`: so the same state always gives the same
plan, a restarted operator goes on where the last one stopped, and tests need neither a cluster nor a database.
Kubernetes objects are plain dicts as the API server sends them, without `managedFields`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from taskmill.kube.scale.decide import Decision
from taskmill.services.fleet import (
    Order,
    QueueLoad,
    QueuePolicy,
    QueuePolicyChange,
    ScheduleFact,
    ScheduleRequest,
    WorkerFact,
)

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SecretFact:
    """A Secret or ConfigMap that a TaskQueue names: is it there, which keys it has, a digest of its values (never the values)."""

    name: str
    found: bool
    keys: frozenset[str] = frozenset()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseFact:
    """The database behind a TaskQueue. `identity` is a hash of host, port and name: queues that share it share Jobs.

    `error` is empty while it answers; `failing_s` is for how long it has not answered, in seconds.
    """

    identity: str
    error: str = ""
    failing_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator's own settings say to the plan."""

    default_image: str
    health_port: int
    instance: str  # 本控制器的名字，写进事件与标签
    may_start_rollout: bool = True  # 同时滚动的队列数有上限；False 时新模板等一等
    correct_in_s: float = 0.0  # 别人改掉的字段还要等多久才改回：有人反复改时不跟着打架


@dataclass(frozen=True, slots=True)
class State:
    """All facts about one TaskQueue at one moment; None means unknown, which is never the same as zero."""

    now: datetime
    queue: Manifest
    options: Options
    secrets: Mapping[str, SecretFact]
    database: DatabaseFact | None  # None：连接用的 Secret 还不能用
    config_maps: Mapping[str, SecretFact] = field(default_factory=dict[str, SecretFact])
    sees_config_maps: bool = True  # 没有读 ConfigMap 的权限时，说不出缺了哪个
    # 种类 → 我们写下时就被准入策略改写了的字段与改成的值；None：启动以来没有写过，不知道
    rewritten: Mapping[str, frozenset[tuple[str, str]] | None] = field(
        default_factory=dict[str, frozenset[tuple[str, str]] | None]
    )
    siblings: Iterable[Manifest] = ()  # 同一命名空间、同一数据库的其他 TaskQueue；可能有上千个，用到时才列出
    same_queue: tuple[str, ...] = ()  # 同一数据库里争用同一个队列名的其他 TaskQueue（namespace/name）
    namespace_terminating: bool = False
    deployment: Manifest | None = None
    scaler_owns_replicas: bool = False  # taskmill-scaler 已拥有 Deployment 的 spec.replicas
    replica_sets: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    jobs: tuple[Manifest, ...] = ()  # 该数据库的迁移 Job，不论哪个队列建的
    job_pods: tuple[Manifest, ...] = ()
    job_refusals: Mapping[str, str] = field(default_factory=dict[str, str])  # 名字 → API 服务器为何不让它建 Pod
    disruption_budget: Manifest | None = None
    service_account: Manifest | None = None
    workers: tuple[WorkerFact, ...] | None = None
    load: QueueLoad | None = None
    decision: Decision | None = None
    policy: QueuePolicy | None = None
    fencing_token: int = 0
    drain_since: Mapping[str, datetime] = field(default_factory=dict[str, datetime])  # Pod 的 uid → 何时收到收尾的命令
    interrupted_known: frozenset[str] | None = None  # 已算进 interruptedTotal 的 Pod 的 uid；None：没有记着，不计数


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply as `taskmill-controller`; `why` is for the log.

    `fresh`: none is known, so one that is there all the same is somebody else's and must not be taken over.
    """

    manifest: Manifest
    why: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Recall:
    """Find out whether fields that are not as we applied them came back so from our own apply: a restart forgot it."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Create:
    """Create once (Jobs); that it exists already is fine."""

    manifest: Manifest
    why: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object, with its uid as precondition, in the background."""

    manifest: Manifest
    why: str


@dataclass(frozen=True, slots=True)
class Conclude:
    """Note on a Job that its migration is over, and suspend it: what else runs in its pod would never end."""

    manifest: Manifest
    words: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Set the Deployment's replicas through `/scale` as `taskmill-scaler`."""

    deployment: str
    replicas: int
    why: str


@dataclass(frozen=True, slots=True)
class ScaleQueue:
    """Set `spec.replicas` of the TaskQueue itself through its `/scale`: in mode External a GET of it fails without."""

    replicas: int
    why: str


@dataclass(frozen=True, slots=True)
class DeletionCost:
    """Set or clear (None) `controller.kubernetes.io/pod-deletion-cost` of a pod that has finished its work."""

    pod: str
    cost: int | None


@dataclass(frozen=True, slots=True)
class OrderWorkers:
    """Write an order with the fencing token into the worker rows of these pods."""

    pod_uids: tuple[str, ...]
    order: Order


@dataclass(frozen=True, slots=True)
class PutPolicy:
    """Write pause and settings of the queue to its database; `by` is who pauses, also instead of `former`, if not empty."""

    queue: str
    change: QueuePolicyChange
    by: str
    former: str = ""


@dataclass(frozen=True, slots=True)
class RecordDeath:
    """Tell the database how a pod's container died, so that its attempts carry the cause."""

    pod_uid: str
    cause: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Add or remove the drain finalizer of the TaskQueue."""

    present: bool


Action = (
    Apply
    | Recall
    | Create
    | Delete
    | Conclude
    | Scale
    | ScaleQueue
    | DeletionCost
    | OrderWorkers
    | PutPolicy
    | RecordDeath
    | SetFinalizer
)


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event about the TaskQueue: one per transition, never per tick."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order (the first failure ends the round), what to publish, and when to look again at the latest."""

    actions: tuple[Action, ...] = ()
    status: Manifest = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    requeue_s: float = 300.0
    rolling: bool = False  # 正在滚动更新，占一个并发名额
    interrupted: tuple[str, ...] = ()  # 这一轮新算进 interruptedTotal 的 Pod 的 uid


@dataclass(frozen=True, slots=True)
class Refusal:
    """The database, or the rules of schedules, refused a schedule: the code and the words of the error."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """All facts about one TaskSchedule. `answer` is what putting it brought, None before it was put in this round."""

    now: datetime
    schedule: Manifest
    secrets: Mapping[str, SecretFact]
    database: DatabaseFact | None
    namespace_terminating: bool = False
    answer: ScheduleFact | Refusal | None = None


@dataclass(frozen=True, slots=True)
class PutSchedule:
    """Make or change the schedule in the database; writes nothing if it is as wanted."""

    request: ScheduleRequest
    suspend: bool
    owner: str


@dataclass(frozen=True, slots=True)
class DeleteSchedule:
    """Remove the schedule from the database if it is the owner's."""

    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """Like `Plan`. With `put` set, put it first and plan again with the answer; actions and status come only then."""

    put: PutSchedule | None = None
    actions: tuple[DeleteSchedule | SetFinalizer, ...] = ()
    status: Manifest = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    requeue_s: float = 300.0
