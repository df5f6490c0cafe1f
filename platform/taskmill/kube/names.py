"""Names that the operator gives: labels, annotations, child objects, Jobs, and the hashes that stand in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

GROUP: Final = "taskmill.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# ── 标签 ──
LABEL_QUEUE: Final = f"{GROUP}/queue"  # TaskQueue 对象的名字
LABEL_DATABASE: Final = f"{GROUP}/database"  # 数据库身份的前八位
LABEL_BUNDLE: Final = f"{GROUP}/bundle"
LABEL_PHASE: Final = f"{GROUP}/phase"  # 迁移 Job：expand 或 contract
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"  # 迁移 Job：这个 bundle 的第几次
NAME: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PRODUCT: Final = "taskmill"
WORKER: Final = "worker"
MIGRATION: Final = "migration"
OPERATOR: Final = "operator"

# ── 注解：用户写的 ──
PAUSED: Final = f"{GROUP}/paused"  # "true"：除了状态什么都不写
FORCE_DELETE: Final = f"{GROUP}/force-delete"  # "true"：不等收尾
RETRY_MIGRATION: Final = f"{GROUP}/retry-migration"  # 任意新值：再跑一次失败的迁移
ADOPT_TEMPLATE: Final = f"{GROUP}/adopt-template"  # "latest"：用最新的模板与默认镜像

# ── 注解：控制器写的 ──
APPLIED_HASH: Final = f"{GROUP}/applied-hash"  # 上次写下的整个对象
CONFIG_HASH: Final = f"{GROUP}/config-hash"  # 配置与所引 Secret 的内容
SECRETS_HASH: Final = f"{GROUP}/secrets-hash"
SPEC_HASH: Final = f"{GROUP}/spec-hash"  # 决定 Pod 模板的那部分 spec
BUNDLE: Final = f"{GROUP}/bundle"
TEMPLATE_VERSION: Final = f"{GROUP}/template-version"
IMAGE: Final = f"{GROUP}/image"
MIGRATION_MARKS: Final = f"{GROUP}/migration-marks"  # 这一次尝试的缘由的散列
MIGRATION_ASKED_BY: Final = f"{GROUP}/migration-asked-by"  # 哪个 TaskQueue 要的：它来发事件
MIGRATION_POLICY: Final = f"{GROUP}/migration-policy"
MIGRATION_TEMPLATE: Final = f"{GROUP}/migration-template"  # Pod 模板的散列：改对了错处，没跑起来过的就重做
MIGRATION_DONE: Final = f"{GROUP}/migration-done"  # 何时做完、说了什么：Pod 里还有别的容器不肯结束
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

CLAIM: Final = "taskmill-operator-claim"  # 每个命名空间里的 Lease：哪个控制器管它
JOB_NAME: Final = "batch.kubernetes.io/job-name"  # Job 控制器给它的 Pod 的标签
FINALIZER: Final = f"{GROUP}/drain"

# ── 服务端应用时的字段管理者 ──
CONTROLLER: Final = "taskmill-controller"
SCALER: Final = "taskmill-scaler"
STATUS: Final = "taskmill-status"

WORKLOAD_LIMIT: Final = 46  # Deployment 名加上 -<10 位>-<5 位> 的 Pod 名仍在 63 字以内
HASH_CHARS: Final = 10
DATABASE_CHARS: Final = 8


def digest(value: Any, chars: int = HASH_CHARS) -> str:
    """Return a hash of any JSON-like value; the order of keys does not matter."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:chars]


def child(owner: str, suffix: str, limit: int = WORKLOAD_LIMIT) -> str:
    """Return `<owner>-<suffix>`; an owner too long for `limit` is cut and a hash of it added."""
    plain = f"{owner}-{suffix}"
    if len(plain) <= limit:
        return plain
    mark = hashlib.sha256(owner.encode()).hexdigest()[:6]
    room = limit - len(suffix) - len(mark) - 2
    return f"{owner[:room].rstrip('-.')}-{mark}-{suffix}"


def holder(namespace: str, queue: str) -> str:
    """Return who paused a queue when its TaskQueue says Hold: the object, whichever operator carries it out."""
    return f"TaskQueue {namespace}/{queue}"


def workload(queue: str) -> str:
    """Return the name of the Deployment, ServiceAccount and PodDisruptionBudget of a TaskQueue."""
    return child(queue, WORKER)


def job(database: str, bundle: str, phase: str, attempt: int = 0) -> str:
    """Return the name of a migration Job: the same database, bundle and attempt always give the same name."""
    base = f"tq-migrate-{database[:DATABASE_CHARS]}-{bundle[:HASH_CHARS]}"
    middle = "" if phase == "expand" else f"-{phase}"
    return f"{base}{middle}" + (f"-r{attempt}" if attempt else "")


def selector(queue: str) -> dict[str, str]:
    """Return the labels that select the worker pods of a TaskQueue; never to be changed."""
    return {LABEL_QUEUE: queue, COMPONENT: WORKER}


def selector_text(queue: str) -> str:
    """Return the same as the text of `status.selector`."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(queue).items()))


def labels(queue: str) -> dict[str, str]:
    """Return the labels of everything that belongs to the workers of a TaskQueue."""
    return {NAME: PRODUCT, MANAGED_BY: PRODUCT, **selector(queue)}


def job_labels(database: str, bundle: str, phase: str, attempt: int) -> dict[str, str]:
    """Return the labels of a migration Job and its pods."""
    return {
        NAME: PRODUCT, MANAGED_BY: PRODUCT, COMPONENT: MIGRATION,
        LABEL_DATABASE: database[:DATABASE_CHARS], LABEL_BUNDLE: bundle, LABEL_PHASE: phase, LABEL_ATTEMPT: str(attempt),
    }  # fmt: skip


def claim_labels() -> dict[str, str]:
    """Return the labels of the Leases that say which operator acts in a namespace."""
    return {NAME: PRODUCT, MANAGED_BY: PRODUCT, COMPONENT: OPERATOR}


def annotation(manifest: Mapping[str, Any] | None, name: str) -> str:
    """Return an annotation of an object, empty if it has none."""
    metadata: Mapping[str, Any] = (manifest or {}).get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(name) or "")


def label(manifest: Mapping[str, Any], name: str) -> str:
    """Return a label of an object, empty if it has none."""
    metadata: Mapping[str, Any] = manifest.get("metadata") or {}
    return str((metadata.get("labels") or {}).get(name) or "")
