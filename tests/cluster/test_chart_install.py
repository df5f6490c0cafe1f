"""Both charts by real Helm on a real control plane: install, test, upgrade, rollback, uninstall; rights as they were used."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskmill.kube.names import CLAIM
from tests.cluster import binaries
from tests.cluster.audit import AuditLine
from tests.cluster.crd_support import task_queue
from tests.cluster.kubelet.context import Pace
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.support import cannot_run
from tests.cluster.plane import ControlPlane
from tests.support.charts import CHART, CRDS_CHART, objects

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE, RELEASE = "chart", "demo"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:demo-taskmill-operator"
Right = tuple[str, str, str]  # 动词、API 组、资源
HELM_S = 300
VALUES: dict[str, Any] = {
    "image": {"tag": "test"},
    "database": {"existingSecret": "app-db"},
    "broker": {"existingSecret": "app-broker"},
    "settings": {"TASKMILL_POOL_SIZE": 2, "TASKMILL_ORM_POOL_SIZE": 2},
    "scheduler": {"replicas": 1},
    "operator": {"replicas": 2, "settings": {"TASKMILL_OPERATOR_TICK_S": 1}},
    "taskQueues": {
        "jobs": {
            "plugins": [{"name": "shell", "config": {"allow": "/bin/echo"}}],
            "scaling": {"minReplicas": 1, "maxReplicas": 2},
            "drain": {"timeoutSeconds": 30},
        }
    },
    "taskSchedules": {
        "nightly": {"kind": "shell.run", "args": {"argv": ["/bin/echo"]}, "queue": "jobs", "cron": "0 3 * * *"}
    },
    "test": {"kind": "shell.run", "args": {"argv": ["/bin/echo", "hello from the chart"]}, "queue": "jobs"},
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A control plane with nodes, and its clients with a patience that installing needs."""

    plane: ControlPlane
    folder: Path

    def helm(self, *arguments: str) -> str:
        done = subprocess.run(
            [binaries.client("helm"), *arguments], capture_output=True, text=True, check=False, timeout=HELM_S + 60,
            env=self.plane.commands.environment,
        )  # fmt: skip
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}\n{self.told()}"
        return done.stdout

    def release(self, verb: str, *options: str, **changes: Any) -> str:
        values = self.folder / "values.yaml"
        values.write_text(yaml.safe_dump({**VALUES, **changes}))
        return self.helm(
            verb, RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values), "--wait", f"--timeout={HELM_S}s", *options
        )

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.plane.commands.kubectl(*arguments, "-n", NAMESPACE, stdin=stdin)

    def patiently(self, *arguments: str) -> None:
        done = subprocess.run(
            [binaries.client("kubectl"), *arguments], capture_output=True, text=True, check=False, timeout=HELM_S + 60,
            env=self.plane.commands.environment,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"{done.stderr}\n{self.plane.commands.kubectl('get', 'pods,jobs,tq', '-A')}\n{self.told()}"
        )

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def names(self, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in self.get(kind)["items"]}

    def told(self) -> str:
        """What a person would look at when something hangs."""
        parts = [self.kubectl("get", "pods,jobs,deploy,tq", "-o", "wide")]
        for item in self.get("pods")["items"]:
            name = item["metadata"]["name"]
            done = subprocess.run(
                [binaries.client("kubectl"), "logs", name, "--all-containers", "--tail=15", "-n", NAMESPACE],
                capture_output=True, text=True, check=False, timeout=30, env=self.plane.commands.environment,
            )  # fmt: skip
            parts.append(f"── {name}\n{done.stdout or done.stderr}")
        return "\n".join(parts)


def restricted(name: str) -> dict[str, Any]:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(name: str, url: str) -> dict[str, Any]:
    data = {"url": base64.b64encode(url.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


@pytest.fixture
def cluster(
    own_plane: Callable[..., ControlPlane], server_root: Path, empty_database_url: str, broker_url: str, tmp_path: Path
) -> Iterator[Cluster]:
    """A cluster of its own: the CRDs belong to Helm here. The namespace takes restricted pods only."""
    if reason := cannot_run():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    plane = own_plane()
    root = Path(tempfile.mkdtemp(prefix="kubelet-", dir=server_root))
    with Kubelet(plane.kubeconfig, root, pace=Pace(refresh_s=2.0)):
        made = Cluster(plane, tmp_path)
        plane.commands.kubectl("create", "-f", "-", stdin=json.dumps(restricted(NAMESPACE)))
        for each in (secret("app-db", empty_database_url), secret("app-broker", broker_url)):
            made.kubectl("create", "-f", "-", stdin=json.dumps(each))
        yield made


def test_from_install_to_uninstall(cluster: Cluster) -> None:
    cluster.helm("install", "crds", str(CRDS_CHART), "-n", "default", "--wait")
    mark = cluster.plane.audit.mark()
    cluster.release("install")
    ready = {c["type"]: c["status"] for c in cluster.get("tq", "jobs")["status"]["conditions"]}
    assert cluster.get("tsched", "nightly")["status"]["nextFireTime"].endswith("03:00:00Z")
    assert (ready["Ready"], ready["Migrated"]) == ("True", "True")
    assert cluster.get("deploy", "demo-taskmill-api")["status"]["readyReplicas"] == 2

    told = cluster.helm("test", RELEASE, "-n", NAMESPACE, "--logs", f"--timeout={HELM_S}s")
    assert "Succeeded" in told
    assert "hello from the chart" in told

    migrations = {name for name in cluster.names("jobs") if name.startswith("demo-taskmill-migrate-")}
    workers = cluster.get("deploy", "jobs-worker")["metadata"]["generation"]
    cluster.release("upgrade", settings={**VALUES["settings"], "TASKMILL_LOG_LEVEL": "DEBUG"})
    env = cluster.get("deploy", "demo-taskmill-api")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "TASKMILL_LOG_LEVEL", "value": "DEBUG"} in env
    assert migrations == {name for name in cluster.names("jobs") if name.startswith("demo-taskmill-migrate-")}
    assert cluster.get("deploy", "jobs-worker")["metadata"]["generation"] == workers

    cluster.helm("rollback", RELEASE, "1", "-n", NAMESPACE, "--wait", f"--timeout={HELM_S}s")
    env = cluster.get("deploy", "demo-taskmill-api")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "TASKMILL_LOG_LEVEL" not in {variable["name"] for variable in env}

    assert denied(cluster, mark) <= TOLERATED
    cluster.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", f"--timeout={HELM_S}s")
    assert cluster.names("tq") | cluster.names("tsched") == set()
    assert cluster.names("deploy") == set()
    assert cluster.get("lease", CLAIM)["spec"]["holderIdentity"] == ""  # 另装一个别的名字的，不必等
    assert "taskqueues.taskmill.dev" in cluster.plane.commands.kubectl("get", "crd", "-o", "name")
    granted, done = allowed(cluster), used(cluster, mark)
    assert sorted(done - granted - DISCOVERY) == []
    assert sorted(granted - done - RARE) == []


def test_one_operator_for_all_namespaces(cluster: Cluster, database_url: str, broker_url: str) -> None:
    """It serves a queue elsewhere, reads Secrets only where it is allowed to, and is refused nothing else."""
    cluster.helm("install", "crds", str(CRDS_CHART), "-n", "default", "--wait")
    work = "work"
    cluster.plane.commands.kubectl("create", "-f", "-", stdin=json.dumps(restricted(work)))
    mark = cluster.plane.audit.mark()
    off = {"enabled": False}
    watch = {"allNamespaces": True, "namespaces": [work]}
    cluster.release(
        "install", api=off, scheduler=off, migrations={"mode": "off"}, taskQueues={}, taskSchedules={},
        operator={"watch": watch, "settings": {"TASKMILL_OPERATOR_TICK_S": 1}},
    )  # fmt: skip
    queue = task_queue("jobs", scaling={"minReplicas": 1}, drain={"timeoutSeconds": 5})
    for each in (secret("app-db", database_url), secret("app-broker", broker_url), queue):
        cluster.plane.commands.kubectl("create", "-n", work, "-f", "-", stdin=json.dumps(each))
    cluster.patiently("wait", "tq/jobs", "-n", work, "--for=jsonpath={.status.readyReplicas}=1", f"--timeout={HELM_S}s")
    cluster.patiently("delete", "tq/jobs", "-n", work, f"--timeout={HELM_S}s")
    assert denied(cluster, mark) <= {("list", "", "secrets"), ("watch", "", "secrets")}


def denied(cluster: Cluster, mark: int) -> set[Right]:
    """What the operator asked for and was refused."""
    return {right(line) for line in cluster.plane.audit.lines(mark, user=OPERATOR, code=403)}


def used(cluster: Cluster, mark: int) -> set[Right]:
    """What the operator asked for and was allowed."""
    return {right(line) for line in cluster.plane.audit.lines(mark, user=OPERATOR) if line.resource and line.code != 403}


def right(line: AuditLine) -> Right:
    return line.verb, line.group, "/".join(filter(None, (line.resource, line.subresource)))


def allowed(cluster: Cluster) -> set[Right]:
    """The rights of the operator's Roles, as the chart renders them."""
    values = cluster.folder / "values.yaml"
    text = cluster.helm("template", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values))
    roles = [o for o in objects(text) if o["kind"] == "Role" and "-operator" in o["metadata"]["name"]]
    return {
        (verb, group, resource)
        for role in roles for rule in role["rules"]
        for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]
    }  # fmt: skip


# 命名空间模式下没有集群级的权限：读 CRD 的版本会被拒，控制器容得下
TOLERATED = {("get", "apiextensions.k8s.io", "customresourcedefinitions")}
# 每个登录的用户都可以问自己是谁、能做什么
DISCOVERY = {
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
    ("create", "authentication.k8s.io", "selfsubjectreviews"),
}
# 这一遍里用不到的，各有原因
RARE: set[Right] = {
    *(("create", group, kind) for group, kind in (  # 服务端 apply 新建对象时由 API 服务器顺带检查，审计里只见 patch
        ("apps", "deployments"), ("policy", "poddisruptionbudgets"), ("", "serviceaccounts"),
    )),
    ("update", "taskmill.dev", "taskqueues/finalizers"),  # 只有开了 OwnerReferencesPermissionEnforcement 的集群才检查
    ("patch", "taskmill.dev", "taskqueues/scale"),  # mode External
    ("patch", "", "pods"),  # 缩容
    ("patch", "events.k8s.io", "events"),  # 同样的事件又来一次
    ("delete", "policy", "poddisruptionbudgets"), ("delete", "", "serviceaccounts"),  # spec 不再要它们
    ("delete", "batch", "jobs"),  # 旧的迁移 Job
    ("patch", "batch", "jobs"),  # 迁移做完而边车不肯结束
    ("list", "events.k8s.io", "events"),  # 迁移 Job 没有 Pod
    ("get", "", "configmaps"),  # spec 里写了它们
}  # fmt: skip
