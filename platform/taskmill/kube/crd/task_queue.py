"""The spec of TaskQueue. Every default is here, so what is stored is what applies and GitOps sees no difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import field

from taskmill import constants as c
from taskmill.controls.queue_settings import RETENTION_S, SETTINGS
from taskmill.kube.crd.pod import Label, Overrides, Plugin, Pod, Reference, Resources
from taskmill.kube.crd.policy import ABSENT, Policy
from taskmill.kube.crd.scaling import PODS_MAX, Scaling
from taskmill.kube.crd.schema import (
    INT_OR_STRING,
    Checks,
    Object,
    Record,
    Rule,
    about,
    immutable,
    keyed,
    mapping,
    opaque,
    text,
    whole,
)

NAME_LIMIT: Final = 47  # 对象名加上 ReplicaSet 与 Pod 的后缀仍在 63 字以内
QUEUE_NAME: Final = r"^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$"
KEY_NAME: Final = r"^[-._a-zA-Z0-9]+$"
PERCENT_OR_COUNT: Final = r"^((100|[0-9]{1,2})%|[0-9]{1,4})$"
WEEK_S: Final = 604_800
TEN_YEARS_S: Final = 315_360_000
ZERO: Final = (0, "0", "0%")

REPLICAS_IN_AUTO: Final = "replicas is decided by the operator while scaling.mode is Auto: change scaling.minReplicas or scaling.maxReplicas, or set scaling.mode to Manual first"
CONNECTION_CHANGED: Final = "connection is immutable: tasks would stay behind in the old database; make a new TaskQueue"
QUEUE_NAME_CHANGED: Final = "queueName is immutable: its tasks would be left without workers; make a new TaskQueue"
NAME_TOO_LONG: Final = f"metadata.name must have at most {NAME_LIMIT} characters: the names of its pods are made from it"
NO_ROLLOUT: Final = "update.maxSurge and update.maxUnavailable must not both be 0: no pod could ever be replaced"
# 从 External 改回 Auto 时容忍原来留下的 replicas，之后只许不变
_REPLICAS_RULE: Final = (
    "!has(self.replicas) || self.scaling.mode != 'Auto' || "
    "(oldSelf.hasValue() && has(oldSelf.value().replicas) && oldSelf.value().replicas == self.replicas)"
)
_IS_ZERO: Final = "(self.{0} == 0 || self.{0} == '0' || self.{0} == '0%')"
# CEL 没法怪到 metadata.name，所以话里说明
NAME_RULES: Final = (Rule(f"size(self.metadata.name) <= {NAME_LIMIT}", NAME_TOO_LONG),)

Share = Annotated[int, whole("", 0, 5000)] | Annotated[str, text("", limit=5, pattern=PERCENT_OR_COUNT)]


def _share(words: str) -> Any:
    return about(words, **{INT_OR_STRING: True})


class KeyReference(Reference, frozen=True):
    """One key of a Secret."""

    key: Annotated[str, text("Key in the Secret whose value is used.", pattern=KEY_NAME, least=1)] = "url"


class Connection(Record, frozen=True):
    """The database and the broker, by Secrets in the same namespace. Cannot be changed; what the Secrets hold can."""

    database_secret_ref: Annotated[
        KeyReference, about("Secret with the PostgreSQL URL, `postgresql://user:password@host:port/db`.")
    ]
    broker_secret_ref: Annotated[KeyReference, about("Secret with the URL of Valkey or Redis, `redis://host:port/0`.")]


class Drain(Record, frozen=True):
    """How a worker ends, whatever the reason: scaling in, a rollout, a node that is drained, deletion."""

    timeout_seconds: Annotated[
        int, whole("How long running tasks may take to finish. Cluster autoscalers allow 600 s at most.", 0, WEEK_S)
    ] = 600
    on_timeout: Annotated[
        Literal["Requeue", "KeepWaiting"],
        about("Then. Requeue: what still runs is handed back, not counted as a failure. KeepWaiting: scaling in waits on."),
    ] = "Requeue"


class Update(Record, frozen=True):
    """How a new template is rolled out. Old pods finish their tasks."""

    CHECKS: ClassVar[Checks] = (
        Rule(
            f"!({_IS_ZERO.format('maxSurge')} && {_IS_ZERO.format('maxUnavailable')})", NO_ROLLOUT, ".maxSurge",
            holds=lambda it: not (it.max_surge in ZERO and it.max_unavailable in ZERO),
        ),
    )  # fmt: skip

    max_surge: Annotated[Share, _share("Pods above the number wanted while it rolls out.")] = "25%"
    max_unavailable: Annotated[Share, _share("Pods that may be missing while it rolls out.")] = 0
    restart_on_secret_change: Annotated[bool, about("Roll out when a Secret that this spec names changes.")] = True


class MigrationPod(Record, frozen=True):
    """What the pod of the migration Job needs besides what it takes from `spec.pod`: labels, annotations, placement, volumes,
    environment and the overrides of the pod, not those of its containers. A change makes a Job anew that never ran.
    """

    SHAPES: ClassVar[Mapping[str, type[msgspec.Struct]]] = {"resources": Resources}
    OPAQUE: ClassVar[Mapping[str, type[msgspec.Struct]]] = {"overrides": Overrides}

    resources: Annotated[
        Object, about("CPU and memory of the migration. Absent: requests of 100m and 128Mi, a memory limit of 1Gi.")
    ] = field(default_factory=dict)
    labels: Annotated[dict[str, Label], mapping("More labels of the pod.", limit=64)] = field(default_factory=dict)
    annotations: Annotated[
        dict[str, Annotated[str, text("Value.", limit=16384)]], mapping("More annotations of the pod.", limit=64)
    ] = field(default_factory=dict)
    overrides: Annotated[
        Object,
        opaque("Part of a PodTemplateSpec (metadata, spec), merged last; the container is named `migrate`."),
    ] = field(default_factory=dict)


class Migration(Record, frozen=True):
    """The database schema that the image needs. Workers of a new image start only after it is there; if a migration
    fails, the old workers go on.
    """

    policy: Annotated[
        Literal["Auto", "Manual", "Skip"],
        about("Auto: the operator runs a Job. Manual: the Job is made suspended, you resume it. Skip: somebody else migrates."),
    ] = "Auto"  # fmt: skip
    backoff_limit: Annotated[int, whole("Retries of the Job.", 0, 20)] = 3
    active_deadline_seconds: Annotated[int, whole("Longest time of the Job.", 10, 86_400)] = 1800
    allow_schema_ahead: Annotated[
        bool, about("Start workers although the database has a newer schema than their image says it can read.")
    ] = False
    pod: Annotated[MigrationPod, about("The pod of the Job.")] = field(default_factory=MigrationPod)


class Disruption(Record, frozen=True):
    """PodDisruptionBudget of the workers, for node drains."""

    enabled: Annotated[bool, about("Whether there is one.")] = True
    max_unavailable: Annotated[int, whole("Pods that may be evicted at once.", 1, PODS_MAX)] = 1


class TaskQueueSpec(Record, frozen=True, kw_only=True):
    """What the workers of one queue should be. Only `connection` is required."""

    CHECKS: ClassVar[Checks] = (
        Rule(_REPLICAS_RULE, REPLICAS_IN_AUTO, ".replicas", reason="FieldValueForbidden", old=True),
        Rule("has(self.queueName) == has(oldSelf.queueName)", QUEUE_NAME_CHANGED, ".queueName", reason="FieldValueForbidden"),
    )  # fmt: skip

    queue_name: (
        Annotated[
            str,
            text(
                "Name of the queue in the database. Absent: the name of this object. Cannot be changed.",
                limit=c.NAME_MAX_CHARS, pattern=QUEUE_NAME, least=1, never=QUEUE_NAME_CHANGED,
            ),
        ]
        | None
    ) = None  # fmt: skip
    image: (
        Annotated[
            str, text("Image of the workers, with your plugins in it. Absent: the operator's default.", limit=512, least=1)
        ]
        | None
    ) = None
    image_pull_policy: (
        Annotated[
            Literal["Always", "IfNotPresent", "Never"],
            about("When the image is pulled. Absent: as Kubernetes decides by the tag."),
        ]
        | None
    ) = None
    image_pull_secrets: Annotated[
        list[Annotated[Reference, about("One Secret.")]], keyed("Secrets for pulling the image.", "name", limit=8)
    ] = field(default_factory=list)
    connection: Annotated[Connection, immutable("", CONNECTION_CHANGED)]
    concurrency: Annotated[int, whole("Tasks that one pod runs at once.", 1, c.CONCURRENCY_MAX)] = c.CONCURRENCY_DEFAULT
    plugins: (
        Annotated[
            list[Plugin],
            keyed(
                "Plugins that the workers load, and no others. Absent: all plugins that are installed in the image.",
                "name", limit=64,
            ),
        ]
        | None
    ) = None  # fmt: skip
    stop_policy: Annotated[
        Literal["None", "Hold", "HoldAndDrain"],
        about(
            "None: tasks run. Hold: the queue is paused in the database, pods stay. HoldAndDrain: paused, and when running tasks "
            "are done there are 0 pods. Tasks are accepted all the while."
        ),
    ] = "None"
    retention_seconds: (
        Annotated[int, whole(SETTINGS["retention_s"].says(ABSENT), int(RETENTION_S.low), int(RETENTION_S.high))] | None
    ) = None
    policy: Policy = Policy()
    replicas: (
        Annotated[int, whole("Number of pods, in mode Manual (by hand) and External (by an autoscaler) only.", 0, PODS_MAX)]
        | None
    ) = None
    scaling: Scaling = Scaling()
    drain: Drain = Drain()
    update: Update = Update()
    migration: Migration = Migration()
    pod: Pod = Pod()
    disruption: Disruption = Disruption()
    deletion_policy: Annotated[
        Literal["Drain", "Delete", "Orphan"],
        about(
            "What happens to the workers when this object is deleted. Drain: running tasks are finished first, within "
            "drain.timeoutSeconds. Delete: pods go at once, their tasks are taken back. Orphan: the Deployment stays and runs on. "
            "Tasks that wait stay in the database in any case."
        ),
    ] = "Drain"
