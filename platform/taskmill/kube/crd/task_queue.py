"""The spec of TaskQueue. Every default is here, so what is stored is what applies and GitOps sees no difference."""

from __future__ import annotations

from taskmill import constants as c
from taskmill.kube.crd import schema as s
from taskmill.kube.crd.pod import plugins, pod
from taskmill.kube.crd.scaling import PODS_MAX, scaling
from taskmill.kube.crd.schema import Schema

NAME_LIMIT = 47  # 对象名加上 ReplicaSet 与 Pod 的后缀仍在 63 字以内
QUEUE_NAME = r"^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$"
WEEK_S = 604_800
TEN_YEARS_S = 315_360_000

REPLICAS_IN_AUTO = "replicas is decided by the operator while scaling.mode is Auto: change scaling.minReplicas or scaling.maxReplicas, or set scaling.mode to Manual first"
CONNECTION_CHANGED = "connection is immutable: tasks would stay behind in the old database; make a new TaskQueue"
QUEUE_NAME_CHANGED = "queueName is immutable: its tasks would be left without workers; make a new TaskQueue"
NAME_TOO_LONG = f"metadata.name must have at most {NAME_LIMIT} characters: the names of its pods are made from it"
NO_ROLLOUT = "update.maxSurge and update.maxUnavailable must not both be 0: no pod could ever be replaced"
# 从 External 改回 Auto 时容忍原来留下的 replicas，之后只许不变
_REPLICAS_RULE = (
    "!has(self.replicas) || self.scaling.mode != 'Auto' || "
    "(oldSelf.hasValue() && has(oldSelf.value().replicas) && oldSelf.value().replicas == self.replicas)"
)


def connection() -> Schema:
    """Return `spec.connection`, shared by both kinds."""
    made = s.record(
        "The database and the broker, by Secrets in the same namespace. Cannot be changed; what the Secrets hold can.",
        {
            "databaseSecretRef": s.reference(
                "Secret with the PostgreSQL URL, `postgresql://user:password@host:port/db`.", key="url"
            ),
            "brokerSecretRef": s.reference("Secret with the URL of Valkey or Redis, `redis://host:port/0`.", key="url"),
        },
        required=["databaseSecretRef", "brokerSecretRef"],
    )
    return s.immutable(made, CONNECTION_CHANGED)


def queue_spec() -> Schema:
    """Return the schema of TaskQueue's spec."""
    name = s.string(
        "Name of the queue in the database. Absent: the name of this object. Cannot be changed.",
        limit=c.NAME_MAX_CHARS, pattern=QUEUE_NAME, least=1,
    )  # fmt: skip
    return s.record(
        "What the workers of one queue should be. Only `connection` is required.",
        {
            "queueName": s.immutable(name, QUEUE_NAME_CHANGED),
            **_image(),
            "connection": connection(),
            "concurrency": s.integer("Tasks that one pod runs at once.", 1, 1000, default=c.CONCURRENCY_DEFAULT),
            "plugins": plugins(),
            "stopPolicy": _stop_policy(),
            "retentionSeconds": s.integer(
                "For how long finished tasks of this queue are kept. 0: they are removed at once. Absent: as the platform is set.",
                0, TEN_YEARS_S,
            ),
            "replicas": s.integer("Number of pods, in mode Manual (by hand) and External (by an autoscaler) only.", 0, PODS_MAX),
            "scaling": scaling(),
            "drain": _drain(),
            "update": _update(),
            "migration": _migration(),
            "pod": pod(),
            "disruption": _disruption(),
            "deletionPolicy": s.choice(
                "What happens to the workers when this object is deleted. Drain: running tasks are finished first, within "
                "drain.timeoutSeconds. Delete: pods go at once, their tasks are taken back. Orphan: the Deployment stays and runs on. "
                "Tasks that wait stay in the database in any case.",
                "Drain", "Delete", "Orphan", default="Drain",
            ),
        },
        required=["connection"],
        rules=_rules(),
    )  # fmt: skip


def _rules() -> list[Schema]:
    same = "has(self.queueName) == has(oldSelf.queueName)"
    return [
        s.rule(_REPLICAS_RULE, REPLICAS_IN_AUTO, path=".replicas", reason="FieldValueForbidden", old=True),
        s.rule(same, QUEUE_NAME_CHANGED, path=".queueName", reason="FieldValueForbidden"),
    ]


def _stop_policy() -> Schema:
    return s.choice(
        "None: tasks run. Hold: the queue is paused in the database, pods stay. HoldAndDrain: paused, and when running tasks "
        "are done there are 0 pods. Tasks are accepted all the while.",
        "None", "Hold", "HoldAndDrain", default="None",
    )  # fmt: skip


def name_rules() -> list[Schema]:
    """Return the rules on the object's name; CEL cannot blame metadata.name, so the message says it."""
    return [s.rule(f"size(self.metadata.name) <= {NAME_LIMIT}", NAME_TOO_LONG, reason="FieldValueInvalid")]


def _image() -> dict[str, Schema]:
    secret = s.record(
        "One Secret.", {"name": s.string("Name of the Secret.", pattern=s.OBJECT_NAME, least=1)}, required=["name"]
    )
    return {
        "image": s.string(
            "Image of the workers, with your plugins in it. Absent: the operator's default.", limit=512, least=1
        ),
        "imagePullPolicy": s.choice(
            "When the image is pulled. Absent: as Kubernetes decides by the tag.", "Always", "IfNotPresent", "Never"
        ),
        "imagePullSecrets": s.keyed("Secrets for pulling the image.", secret, key="name", limit=8),
    }


def _drain() -> Schema:
    return s.record(
        "How a worker ends, whatever the reason: scaling in, a rollout, a node that is drained, deletion.",
        {
            "timeoutSeconds": s.integer(
                "How long running tasks may take to finish. Cluster autoscalers allow 600 s at most.", 0, WEEK_S, default=600
            ),
            "onTimeout": s.choice(
                "Then. Requeue: what still runs is handed back, not counted as a failure. KeepWaiting: scaling in waits on.",
                "Requeue", "KeepWaiting", default="Requeue",
            ),
        },
    )  # fmt: skip


def _update() -> Schema:
    zero = "(self.{0} == 0 || self.{0} == '0' || self.{0} == '0%')"
    return s.record(
        "How a new template is rolled out. Old pods finish their tasks.",
        {
            "maxSurge": s.count_or_percent("Pods above the number wanted while it rolls out.", default="25%"),
            "maxUnavailable": s.count_or_percent("Pods that may be missing while it rolls out.", default=0),
            "restartOnSecretChange": s.boolean("Roll out when a Secret that this spec names changes.", default=True),
        },
        rules=[
            s.rule(f"!({zero.format('maxSurge')} && {zero.format('maxUnavailable')})", NO_ROLLOUT, path=".maxSurge"),
        ],
    )


def _migration() -> Schema:
    return s.record(
        "The database schema that the image needs. Workers of a new image start only after it is there; if a migration fails, the old "
        "workers go on.",
        {
            "policy": s.choice(
                "Auto: the operator runs a Job. Manual: the Job is made suspended, you resume it. Skip: somebody else migrates.",
                "Auto", "Manual", "Skip", default="Auto",
            ),
            "backoffLimit": s.integer("Retries of the Job.", 0, 20, default=3),
            "activeDeadlineSeconds": s.integer("Longest time of the Job.", 10, 86_400, default=1800),
            "allowSchemaAhead": s.boolean(
                "Start workers although the database has a newer schema than their image says it can read.", default=False
            ),
        },
    )  # fmt: skip


def _disruption() -> Schema:
    return s.record(
        "PodDisruptionBudget of the workers, for node drains.",
        {
            "enabled": s.boolean("Whether there is one.", default=True),
            "maxUnavailable": s.integer("Pods that may be evicted at once.", 1, PODS_MAX, default=1),
        },
    )
