"""Migration Jobs as manifests: one per database, bundle, phase and attempt; created once and never sent again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from taskmill.kube import names
from taskmill.kube.crd.model import TaskQueue
from taskmill.kube.render.pod import container, from_secret, merge, pod_spec, present, variables
from taskmill.kube.render.workers import owner
from taskmill.kube.state import Manifest

Phase = Literal["expand", "contract"]
CONTAINER: Final = "migrate"
# 迁移要的与工作进程无关：滚动更新时两者并存，不该为它再留一个工作进程那么大的地方
RESOURCES: Final[Manifest] = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
CPU_LIMIT: Final = "1"  # 工作进程限了 CPU（配额或 LimitRange 可能要求），迁移也限，但不必限得更松
DISK: Final = "ephemeral-storage"
EXIT_BROKEN: Final = 42  # 迁移本身有错，再试也没用
EXIT_AHEAD: Final = 43  # 数据库比镜像新，而且这个版本读不了
EXIT_LOCKED: Final = 44  # 等锁超时


@dataclass(frozen=True, slots=True)
class JobOrder:
    """Which migration Job is wanted. `marks`: hashes of what asked for this attempt (nonces, settings)."""

    queue: TaskQueue
    owners: tuple[TaskQueue, ...]
    image: str
    database: str
    bundle: str
    phase: Phase
    attempt: int
    marks: frozenset[str]


def migration_job(order: JobOrder) -> Manifest:
    """Return the Job that brings the database to what the bundle needs."""
    settings = order.queue.spec.migration
    labels = names.job_labels(order.database, order.bundle, order.phase, order.attempt)
    manual = settings.policy == "Manual"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job(order.database, order.bundle, order.phase, order.attempt),
            "namespace": order.queue.namespace,
            "labels": labels,
            "annotations": {
                names.MIGRATION_MARKS: ",".join(sorted(order.marks)),
                names.MIGRATION_POLICY: settings.policy,
                names.MIGRATION_ASKED_BY: order.queue.name,
                names.MIGRATION_TEMPLATE: template_hash(order.queue),
                names.IMAGE: order.image,
            },
            "ownerReferences": _owners((order.queue, *order.owners)),
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": settings.backoff_limit,
            "activeDeadlineSeconds": settings.active_deadline_seconds,
            "podReplacementPolicy": "Failed",  # 上一个 Pod 彻底结束之前不起下一个
            "podFailurePolicy": {"rules": _rules()},
            **({"suspend": True} if manual else {}),
            "template": _template(order.queue, order.image, order.phase, labels),
        },
    }


def marks(queue: TaskQueue) -> frozenset[str]:
    """Return the hashes of what justifies one more attempt: the settings of the Job, and the nonce of the user.

    Its pod is no part of them: fifty queues with fifty kinds of pods share a database, and are no reasons for fifty attempts.
    """
    settings = queue.spec.migration
    found = {names.digest(["settings", settings.backoff_limit, settings.active_deadline_seconds])}
    if nonce := queue.annotations.get(names.RETRY_MIGRATION):
        found.add(names.digest(["nonce", nonce]))
    return frozenset(found)


def template_hash(queue: TaskQueue) -> str:
    """Return a hash of the pod of a queue's migration Jobs, whatever their image and phase."""
    return names.digest(_template(queue, "", "expand", {}))


def _owners(queues: Iterable[TaskQueue]) -> list[dict[str, str]]:
    """所有共用这个数据库的 TaskQueue：最后一个没了，垃圾回收才收走 Job。"""
    alive = {queue.uid: queue for queue in queues if queue.deleted_at is None}
    return [owner(alive[uid], controller=False) for uid in sorted(alive)]


def _rules() -> list[Manifest]:
    fatal = {"containerName": CONTAINER, "operator": "In", "values": [EXIT_BROKEN, EXIT_AHEAD]}
    return [
        {"action": "FailJob", "onExitCodes": fatal},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]


def _template(queue: TaskQueue, image: str, phase: Phase, labels: dict[str, str]) -> Manifest:
    """像工作进程的 Pod，只是容器不同、资源另算；用户给迁移另写的最后合并。"""
    spec = queue.spec
    reference, pod = spec.connection.database_secret_ref, spec.migration.pod
    args = ["migrate", "up", "--phase", phase]
    if spec.migration.allow_schema_ahead:
        args.append("--allow-ahead")
    env = [
        from_secret("TASKMILL_DATABASE_URL", reference.name, reference.key),
        *variables({"TASKMILL_LOG_FORMAT": "json", "TASKMILL_TERMINATION_MESSAGE": "/dev/termination-log"}),
    ]
    migrate = container(spec, CONTAINER, image, args, env) | {"resources": pod.resources or _resources(spec.pod.resources)}
    base = {
        "metadata": {
            "labels": {**spec.pod.labels, **pod.labels},
            "annotations": {**spec.pod.annotations, **pod.annotations},
        },
        "spec": pod_spec(spec, token=bool(spec.pod.service_account_name)),
    }
    made = merge(base, _of_the_pod(spec.pod.overrides))
    made["spec"]["containers"] = [migrate]
    made = merge(made, pod.overrides)
    made["spec"]["restartPolicy"] = "Never"  # 每次失败的 Pod 与日志都留着
    metadata = made.get("metadata") or {}
    given = {name: value for name, value in (metadata.get("labels") or {}).items() if not name.startswith(f"{names.GROUP}/")}
    made["metadata"] = present({**metadata, "labels": {**given, **labels}})
    return made


def _resources(workers: Manifest) -> Manifest:
    """配额要求的，工作进程多半写了：它限了什么，迁移也得限，只是另有大小。"""
    made = {kind: {**RESOURCES[kind]} for kind in ("requests", "limits")}
    for kind, sizes in made.items():
        if (disk := (workers.get(kind) or {}).get(DISK)) is not None:
            sizes[DISK] = disk
    if (cpu := (workers.get("limits") or {}).get("cpu")) is not None:
        made["limits"]["cpu"] = min(cpu, CPU_LIMIT, key=_cores)
        made["requests"]["cpu"] = min(RESOURCES["requests"]["cpu"], cpu, key=_cores)
    return made


def _cores(quantity: Any) -> float:
    """CPU 的写法只有这几种常用；别的当作很大。"""
    text = str(quantity)
    try:
        return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
    except ValueError:
        return float("inf")


def _of_the_pod(overrides: Manifest) -> Manifest:
    """写给工作进程 Pod 的覆盖里，整个 Pod 的那部分；容器是各自的。"""
    spec = {key: value for key, value in (overrides.get("spec") or {}).items() if key != "containers"}
    return {**overrides, "spec": spec} if "spec" in overrides else overrides
