"""The CRDs, from one source: `python -m taskmill.kube.crd.documents --write`; `--check` says whether the files are current."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click
import yaml

from taskmill.kube.crd.schema import Schema, schema_of
from taskmill.kube.crd.status import QueueStatus
from taskmill.kube.crd.task_queue import NAME_RULES, TaskQueueSpec
from taskmill.kube.crd.task_schedule import ScheduleStatus, TaskScheduleSpec
from taskmill.kube.names import API_VERSION, GROUP, VERSION

SCHEMA_VERSION = 1  # 字段增加时加一；控制器据此认出比自己旧的 CRD
VERSION_WORDS = "Schema version"  # 也写在说明里：谁都读得到 OpenAPI，读 CRD 却要集群级的权限
SCHEMA_VERSION_ANNOTATION = f"{GROUP}/schema-version"
ROOT = Path(__file__).parents[4]
PLAIN = "crds"
CHART = "charts/taskmill-crds/templates"
HEAD = "# made by `make generate` from platform/taskmill/kube; do not edit\n"
KEEP = {"helm.sh/resource-policy": "keep"}  # 卸载 chart 不删 CRD，也就不删所有 TaskQueue

# 还没有控制器看过的对象：`kubectl get` 与 `helm --wait` 不当它好了
UNSEEN = {
    "observedGeneration": -1,
    "conditions": [{
        "type": "Ready", "status": "Unknown", "reason": "Pending", "lastTransitionTime": "1970-01-01T00:00:00Z",
        "message": "No operator has looked at it yet. Is one running, and does it watch this namespace?",
    }],
}  # fmt: skip

Crd = dict[str, Any]


def task_queue() -> Crd:
    """Return the CRD of TaskQueue."""
    columns = [
        _column("READY", '.status.conditions[?(@.type=="Ready")].status', about="Whether it is as it should be."),
        _column("REPLICAS", ".status.replicas", kind="integer", about="Pods that exist."),
        _column("DESIRED", ".status.desiredReplicas", kind="integer", about="Pods wanted now."),
        _column("MAX", ".spec.scaling.maxReplicas", kind="integer", rank=1, about="Most pods."),
        _column("READY-TASKS", ".status.work.ready", kind="integer", about="Tasks that could start now."),
        _column(
            "WAIT", ".status.work.oldestWaitSeconds", kind="integer", about="Wait of the oldest ready task, in seconds."
        ),
        _column("MODE", ".spec.scaling.mode", about="Who decides the number of pods."),
        _column("SCHEMA", ".status.migration.databaseRevision", rank=1, about="Revision of the database."),
        _column(
            "BROKER",
            '.status.conditions[?(@.type=="BrokerReachable")].status',
            rank=1,
            about="Whether workers reach Valkey.",
        ),
        _column(
            "SERVED", '.status.conditions[?(@.type=="KindsServed")].status', rank=1, about="Whether all kinds are served."
        ),
        _column("REASON", '.status.conditions[?(@.type=="Ready")].reason', about="Why it is ready or not."),
        _column("AGE", ".metadata.creationTimestamp", kind="date", about="Time since creation."),
    ]
    version = _version(
        "Workers of one queue of tasks: how many there are follows from how long tasks wait.",
        schema_of(TaskQueueSpec),
        schema_of(QueueStatus),
        columns,
    )
    version["subresources"]["scale"] = {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector",
    }  # fmt: skip
    version["selectableFields"] = [{"jsonPath": ".spec.queueName"}]
    return _crd("TaskQueue", "taskqueues", "tq", version)


def task_schedule() -> Crd:
    """Return the CRD of TaskSchedule."""
    columns = [
        _column("READY", '.status.conditions[?(@.type=="Ready")].status', about="Whether the database has it."),
        _column("KIND", ".spec.kind", about="Kind of the tasks."),
        _column("CRON", ".spec.cron", about="Cron expression."),
        _column("EVERY", ".spec.intervalSeconds", kind="integer", rank=1, about="Interval, in seconds."),
        _column("ZONE", ".spec.timeZone", rank=1, about="Time zone of the cron expression."),
        _column("SUSPENDED", ".spec.suspend", kind="boolean", about="Whether it fires no more for now."),
        _column("NEXT", ".status.nextFireTime", about="When it fires next."),
        _column("LAST", ".status.lastFireTime", kind="date", about="Time since the last fire."),
        _column("MISSED", ".status.missedCount", kind="integer", rank=1, about="Fires given up."),
        _column("REASON", '.status.conditions[?(@.type=="Ready")].reason', about="Why it is ready or not."),
        _column("AGE", ".metadata.creationTimestamp", kind="date", about="Time since creation."),
    ]
    version = _version("A timetable that submits tasks.", schema_of(TaskScheduleSpec), schema_of(ScheduleStatus), columns)
    version["selectableFields"] = [{"jsonPath": ".spec.kind"}]
    return _crd("TaskSchedule", "taskschedules", "tsched", version)


def documents() -> dict[str, Crd]:
    """Return the CRDs by file name."""
    return {"taskqueues.yaml": task_queue(), "taskschedules.yaml": task_schedule()}


def files() -> dict[str, str]:
    """Return every file that is made from the CRDs, by path from the root of the checkout."""
    made: dict[str, str] = {}
    for name, crd in documents().items():
        made[f"{PLAIN}/{name}"] = _yaml(crd)
        kept = crd | {"metadata": crd["metadata"] | {"annotations": crd["metadata"]["annotations"] | KEEP}}
        made[f"{CHART}/{name}"] = _yaml(kept)
    return made


def stale(root: Path) -> list[str]:
    """Return the paths of files that are missing or outdated."""
    return sorted(name for name, text in files().items() if not _is(root / name, text))


def write(root: Path) -> None:
    """Write all files."""
    for name, text in files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _crd(kind: str, plural: str, short: str, version: Mapping[str, Any]) -> Crd:
    names = {
        "kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), "shortNames": [short],
        "categories": ["all"],
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {SCHEMA_VERSION_ANNOTATION: str(SCHEMA_VERSION)},
            "labels": {"app.kubernetes.io/name": "taskmill", "app.kubernetes.io/component": "crds"},
        },
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _version(about: str, spec: Schema, status: Schema, columns: list[dict[str, Any]]) -> dict[str, Any]:
    root = {
        "type": "object",
        "description": f"{about} {VERSION_WORDS} {SCHEMA_VERSION}.",
        "required": ["spec"],
        "x-kubernetes-validations": [rule.schema() for rule in NAME_RULES],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {API_VERSION}."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status | {"default": UNSEEN},
        },
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": root},
    }


def _column(name: str, path: str, *, about: str, kind: str = "string", rank: int = 0) -> dict[str, Any]:
    made = {"name": name, "type": kind, "description": about, "jsonPath": path}
    return made | ({"priority": rank} if rank else {})


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # pyright: ignore[reportUnusedParameter]
        """Write equal parts out each time: anchors are hard to read."""
        del data
        return True


def _yaml(crd: Crd) -> str:
    return HEAD + yaml.dump(crd, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


@click.command()
@click.option("--write/--check", "writing", required=True, help="Write the files, or fail if one is out of date.")
@click.pass_context
def main(ctx: click.Context, writing: bool) -> None:  # noqa: FBT001 - click 的布尔选项
    """Write the CRD files, or check them.

    Example: python -m taskmill.kube.crd.documents --check
    """
    if writing:
        write(ROOT)
        return
    old = stale(ROOT)
    for name in old:
        click.echo(f"{name} → make generate", err=True)
    ctx.exit(1 if old else 0)


if __name__ == "__main__":
    sys.exit(main())
