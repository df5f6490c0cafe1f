"""What a TaskQueue makes: Deployment, ServiceAccount and PodDisruptionBudget of its workers.

The renderer is versioned. An object keeps the version it was made with until its spec changes, so that an upgrade of
the operator changes no workload: a change of what is rendered here is a new version beside the old one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.model import TaskQueue, canonical, queue_name
from taskmill.kube.render.pod import (
    Part,
    container,
    from_field,
    from_secret,
    merge,
    plugin_env,
    pod_spec,
    present,
    variables,
)
from taskmill.kube.state import Manifest

CONTAINER: Final = "worker"
HEALTH: Final = "health"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What the manifests of the workers are made from.

    `replicas` is sent only until the scaler owns the field; None: leave it out.
    """

    queue: TaskQueue
    image: str
    bundle: str
    config_hash: str
    spec_hash: str
    secrets_hash: str
    health_port: int
    version: int
    replicas: int | None = None


def deployment(rendering: Rendering) -> Manifest:
    """Return the Deployment of the workers."""
    queue, update = rendering.queue, rendering.queue.spec.update
    made = _object(queue, "apps/v1", "Deployment")
    made["metadata"]["annotations"] = {
        names.BUNDLE: rendering.bundle,
        names.IMAGE: rendering.image,
        names.SPEC_HASH: rendering.spec_hash,
        names.SECRETS_HASH: rendering.secrets_hash,
        names.TEMPLATE_VERSION: str(rendering.version),
    }
    made["spec"] = {
        "selector": {"matchLabels": names.selector(queue.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": update.max_surge, "maxUnavailable": update.max_unavailable},
        },
        "revisionHistoryLimit": c.KUBE_REVISIONS,
        "progressDeadlineSeconds": c.KUBE_PROGRESS_S,
        "template": RENDERERS[rendering.version](rendering),
    }
    if rendering.replicas is not None:
        made["spec"]["replicas"] = rendering.replicas
    return _stamped(made)


def service_account(rendering: Rendering) -> Manifest | None:
    """Return the ServiceAccount of the workers, without rights and without a token; None if the user names one."""
    if rendering.queue.spec.pod.service_account_name:
        return None
    return _stamped(_object(rendering.queue, "v1", "ServiceAccount") | {"automountServiceAccountToken": False})


def disruption_budget(queue: TaskQueue) -> Manifest | None:
    """Return the PodDisruptionBudget of the workers, None if it is off."""
    disruption = queue.spec.disruption
    if not disruption.enabled:
        return None
    made = _object(queue, "policy/v1", "PodDisruptionBudget")
    made["spec"] = {
        "maxUnavailable": disruption.max_unavailable,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # 坏掉的 Pod 不许拦住节点排空
        "selector": {"matchLabels": names.selector(queue.name)},
    }
    return _stamped(made)


def owner(queue: TaskQueue, *, controller: bool) -> dict[str, Any]:
    """Return the ownerReference to a TaskQueue."""
    made: dict[str, Any] = {"apiVersion": names.API_VERSION, "kind": "TaskQueue", "name": queue.name, "uid": queue.uid}
    return made | ({"controller": True, "blockOwnerDeletion": True} if controller else {})


def is_ours(manifest: Manifest, queue: TaskQueue) -> bool:
    """Say whether an object belongs to the TaskQueue, or to nobody and bears its labels (after deletionPolicy Orphan)."""
    owned_by = controller(manifest)
    return owned_by.get("uid") == queue.uid if owned_by else names.label(manifest, names.LABEL_QUEUE) == queue.name


def controller(manifest: Manifest) -> Manifest:
    """Return the ownerReference with which an object goes when its owner does; empty without (there is at most one)."""
    return next((each for each in manifest["metadata"].get("ownerReferences") or () if each.get("controller")), {})


def is_of_predecessor(manifest: Manifest, queue: TaskQueue) -> bool:
    """Say whether an object belongs to a TaskQueue of the same name that is gone: the garbage collector will take it."""
    owned_by = controller(manifest)
    return (owned_by.get("kind"), owned_by.get("name")) == ("TaskQueue", queue.name) and owned_by.get("uid") != queue.uid


def same_owner(found: Manifest, wanted: Manifest) -> bool:
    """Say whether an object that is there belongs to whom the wanted one would belong."""
    if owned_by := controller(found):
        return owned_by.get("uid") == controller(wanted).get("uid")
    label = names.label(found, names.LABEL_QUEUE)
    return label != "" and label == names.label(wanted, names.LABEL_QUEUE)


def spec_hash(queue: TaskQueue) -> str:
    """Return a hash of all in the spec that shapes the pods; the renderer's version is kept while it stays the same."""
    spec = queue.spec
    shaping = [
        spec.image, spec.image_pull_policy, spec.image_pull_secrets, spec.connection, spec.concurrency, spec.plugins,
        spec.queue_name, spec.drain.timeout_seconds, spec.pod,
    ]  # fmt: skip
    return names.digest(canonical(shaping))


def bundle(queue: TaskQueue, image: str) -> str:
    """Return the hash of what a database must be migrated for: image, plugins, and what the migration may do."""
    plugins = sorted(plugin.name for plugin in queue.spec.plugins or ())
    return names.digest([image, plugins, queue.spec.migration.allow_schema_ahead])


def _template_1(rendering: Rendering) -> Part:
    return _template(rendering, token=False)


def _template_2(rendering: Rendering) -> Part:
    """指名的 ServiceAccount 是要用的：令牌挂不挂，由它自己说。"""
    return _template(rendering, token=bool(rendering.queue.spec.pod.service_account_name))


def _template(rendering: Rendering, *, token: bool) -> Part:
    queue, spec = rendering.queue, rendering.queue.spec
    made = pod_spec(spec, token=token)
    made["terminationGracePeriodSeconds"] = spec.drain.timeout_seconds + c.KUBE_GRACE_MARGIN_S
    made.setdefault("serviceAccountName", names.workload(queue.name))
    spread = spec.pod.topology_spread_constraints
    made["topologySpreadConstraints"] = _spread(queue.name) if spread is None else copy.deepcopy(spread)
    made["containers"] = [_worker(rendering)]
    labels = names.labels(queue.name)
    annotations = {names.BUNDLE: rendering.bundle, names.CONFIG_HASH: rendering.config_hash}
    template = {
        "metadata": {"labels": {**spec.pod.labels}, "annotations": {**spec.pod.annotations}},
        "spec": present(made),
    }
    template = merge(template, spec.pod.overrides)
    # 选择器认得的标签与滚动所依的注解不许被盖掉
    template["metadata"] = merge(template.get("metadata") or {}, {"labels": labels, "annotations": annotations})
    return template


RENDERERS: Final[dict[int, Callable[[Rendering], Part]]] = {1: _template_1, 2: _template_2}
LATEST: Final = max(RENDERERS)


def _worker(rendering: Rendering) -> Part:
    spec = rendering.queue.spec
    connection = spec.connection
    env = [
        from_secret("TASKMILL_DATABASE_URL", connection.database_secret_ref.name, connection.database_secret_ref.key),
        from_secret("TASKMILL_BROKER_URL", connection.broker_secret_ref.name, connection.broker_secret_ref.key),
        from_field("TASKMILL_POD_NAME", "metadata.name"),
        from_field("TASKMILL_POD_NAMESPACE", "metadata.namespace"),
        from_field("TASKMILL_POD_UID", "metadata.uid"),
        *variables({
            "TASKMILL_QUEUES": queue_name(rendering.queue),
            "TASKMILL_CONCURRENCY": str(spec.concurrency),
            "TASKMILL_DRAIN_GRACE_S": str(spec.drain.timeout_seconds),
            "TASKMILL_LOG_FORMAT": "json",
            "TASKMILL_BUNDLE": rendering.bundle,
            "TASKMILL_WORKER_HEALTH_PORT": str(rendering.health_port),
        }),
        *plugin_env(spec),
    ]  # fmt: skip
    made = container(spec, CONTAINER, rendering.image, ["worker"], env)
    made["ports"] = [{"name": HEALTH, "containerPort": rendering.health_port, "protocol": "TCP"}]
    # 启动最多等两分钟；就绪两秒一探，收尾的工作进程很快就被看成未就绪
    made["startupProbe"] = _probe("/healthz", period=2, failures=60, timeout=2)
    made["livenessProbe"] = _probe("/healthz", period=10, failures=6, timeout=5)
    made["readinessProbe"] = _probe("/readyz", period=2, failures=2, timeout=3)
    return made


def _probe(path: str, *, period: int, failures: int, timeout: int) -> Part:
    return {
        "httpGet": {"path": path, "port": HEALTH, "scheme": "HTTP"},
        "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": timeout,
    }  # fmt: skip


def _spread(queue: str) -> list[Part]:
    """尽量摊到不同的节点与机房，摊不开也照样调度。"""
    return [
        {
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector(queue)},
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]  # fmt: skip


def _object(queue: TaskQueue, api_version: str, kind: str) -> Manifest:
    labels = names.labels(queue.name) | {names.INSTANCE: queue.name}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": names.workload(queue.name),
            "namespace": queue.namespace,
            "labels": labels,
            "ownerReferences": [owner(queue, controller=True)],
        },
    }


def _stamped(manifest: Manifest) -> Manifest:
    """盖上整个对象的散列：没有变化就不必写。"""
    annotations: dict[str, str] = manifest["metadata"].setdefault("annotations", {})
    annotations[names.APPLIED_HASH] = names.digest(manifest, chars=16)
    return manifest
