"""The kinds of Kubernetes objects that the operator reads and writes, and where they live in the API.

A fixed table instead of discovery: it costs no request at the start, and names every right that the role needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskmill.kube import names
from taskmill.kube.state import Manifest


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; `selector` is the label selector with which the server filters what we watch."""

    api_version: str
    kind: str
    plural: str
    selector: str = ""
    namespaced: bool = True

    @property
    def group(self) -> str:
        """Return the API group, empty for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Return the version without the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")


MANAGED = f"{names.MANAGED_BY}={names.PRODUCT}"

TASK_QUEUE = Kind(names.API_VERSION, "TaskQueue", "taskqueues")
TASK_SCHEDULE = Kind(names.API_VERSION, "TaskSchedule", "taskschedules")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", MANAGED)
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets", MANAGED)
POD = Kind("v1", "Pod", "pods", MANAGED)
JOB = Kind("batch/v1", "Job", "jobs", MANAGED)
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", MANAGED)
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts", MANAGED)
SECRET = Kind("v1", "Secret", "secrets", f"{names.GROUP}/watch=true")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
CRD = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)

WATCHED = (TASK_QUEUE, TASK_SCHEDULE, DEPLOYMENT, REPLICA_SET, POD, JOB, DISRUPTION_BUDGET, SERVICE_ACCOUNT, SECRET)
ALL = (*WATCHED, CONFIG_MAP, LEASE, EVENT, NAMESPACE, CRD)
_BY_NAME = {(each.api_version, each.kind): each for each in ALL}


def kind_of(manifest: Manifest) -> Kind:
    """Return the kind of a manifest; KeyError for one that the operator does not know."""
    return _BY_NAME[manifest["apiVersion"], manifest["kind"]]
