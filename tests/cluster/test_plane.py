"""The control plane is a real one: it authenticates, authorizes, controls, schedules, audits and survives a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import kubeconfig as kubeconfigs
from tests.cluster.commands import CommandError, Commands
from tests.cluster.conftest import Run
from tests.cluster.plane import ControlPlane
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
WAIT_S = 120.0  # 别的测试刚停过 API server：控制器隔得越来越久才重连，最久 30 秒
NODE = "paper"  # 只在纸上的节点：没有 kubelet


def listed(kubectl: Run, *what: str) -> list[dict[str, Any]]:
    return json.loads(kubectl("get", *what, "-o", "json"))["items"]


@pytest.fixture
def paper_node(kubectl: Run) -> Iterator[str]:
    """A Node that nobody serves; its taint keeps the pods of other tests away."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "Paper", "lastHeartbeatTime": now, "lastTransitionTime": now}
    size = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {NODE: "true"}},
        "spec": {"taints": [{"key": NODE, "effect": "NoSchedule"}]},
        "status": {"capacity": size, "allocatable": size, "conditions": [ready]},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(node))
    yield NODE
    kubectl("delete", "node", NODE)


def deployment(replicas: int) -> str:
    container = {"name": "main", "image": "nowhere/none", "resources": {"requests": {"cpu": "100m"}}}
    # 容忍一切：控制器迟了，节点会先被当作失联
    pod = {"containers": [container], "nodeSelector": {NODE: "true"}, "tolerations": [{"operator": "Exists"}]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
    }
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})


async def test_the_plane_answers(admin: Any, plane: ControlPlane) -> None:
    assert admin.version["kubernetes"]["gitVersion"] == "v1.37.2"
    assert all(part.running for part in (plane.etcd, plane.api, plane.controllers, plane.scheduler))


def test_clients_have_the_version_of_the_plane(kubectl: Run, helm: Run) -> None:
    versions = json.loads(kubectl("version", "-o", "json"))
    assert versions["clientVersion"]["gitVersion"] == versions["serverVersion"]["gitVersion"] == "v1.37.2"
    assert helm("version", "--short").startswith("v4.3.1")
    assert helm("list", "-o", "json").strip() == "[]"


def test_an_unknown_token_is_refused(plane: ControlPlane, tmp_path: Path) -> None:
    path = kubeconfigs.write(
        tmp_path / "stranger", server=plane.api.url, authority=plane.authority.certificate, user={"token": "guessed"}
    )
    with pytest.raises(CommandError, match=r"Unauthorized|must be logged in"):
        Commands(path, tmp_path).kubectl("get", "namespaces")


def test_rbac_decides_what_a_user_may(plane: ControlPlane, kubectl: Run, namespace: str, tmp_path: Path) -> None:
    someone = Commands(plane.user_kubeconfig("someone", "readers"), tmp_path)
    with pytest.raises(CommandError, match='User "someone" cannot list resource "pods"'):
        someone.kubectl("get", "pods", "-n", namespace)
    kubectl("create", "rolebinding", "read", "--clusterrole=view", "--group=readers", "-n", namespace)
    assert someone.kubectl("get", "pods", "-n", namespace, "-o", "name") == ""


def test_a_service_account_has_a_token(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    account = Commands(plane.service_account_kubeconfig(namespace, "default"), tmp_path)
    answer = json.loads(account.kubectl("auth", "whoami", "-o", "json"))
    assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"


def test_pod_security_is_enforced(kubectl: Run, namespace: str) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    with pytest.raises(CommandError, match="violates PodSecurity"):
        kubectl("run", "loose", "--image=none", "-n", namespace)


async def test_a_deployment_becomes_bound_pods(kubectl: Run, namespace: str, paper_node: str) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=deployment(replicas=2))

    def bound() -> bool:
        pods = listed(kubectl, "pods", "-n", namespace)
        print([(pod["spec"].get("nodeName"), pod["status"]) for pod in pods])  # noqa: T201 - 只在失败时给人看
        return [pod["spec"].get("nodeName") for pod in pods] == [paper_node] * 2

    await eventually(bound, timeout=WAIT_S, poll=0.3, why="the scheduler binds both pods")
    (replica_set,) = listed(kubectl, "replicasets", "-n", namespace)
    assert replica_set["metadata"]["ownerReferences"][0]["kind"] == "Deployment"


async def test_the_audit_log_has_who_did_what(plane: ControlPlane, kubectl: Run, namespace: str) -> None:
    mark = plane.audit.mark()
    kubectl("create", "configmap", "seen", "-n", namespace, "--from-literal=colour=red")
    kubectl("delete", "configmap", "seen", "-n", namespace)

    def verbs() -> list[str]:
        lines = plane.audit.lines(mark, user="admin", resource="configmaps", namespace=namespace)
        return [line.verb for line in lines if line.verb in {"create", "delete"}]

    await eventually(lambda: verbs() == ["create", "delete"], why="both writes are in the audit log")
    (created,) = plane.audit.lines(mark, verb="create", resource="configmaps", namespace=namespace)
    assert created.raw["requestObject"]["data"] == {"colour": "red"}


@pytest.mark.parametrize("fault", ["restart", "terminate", "kill", "pause"])
def test_data_and_address_survive(plane: ControlPlane, kubectl: Run, namespace: str, fault: str) -> None:
    address = plane.api.url
    kubectl("create", "configmap", "kept", "-n", namespace)
    faults: dict[str, Callable[[], object]] = {
        "restart": plane.api.restart,
        "terminate": lambda: (plane.api.terminate(), plane.api.start()),
        "kill": lambda: (plane.api.kill(), plane.api.start()),
        "pause": lambda: (plane.api.pause(), plane.api.resume()),
    }
    faults[fault]()
    assert plane.api.url == address
    assert kubectl("get", "configmap", "kept", "-n", namespace, "-o", "name") == "configmap/kept\n"


async def test_a_paused_server_does_not_answer(plane: ControlPlane, kubectl: Run) -> None:
    plane.api.pause()
    try:
        with pytest.raises(CommandError, match=r"[Tt]imeout|deadline"):
            kubectl("get", "namespaces", "--request-timeout=1s")
    finally:
        plane.api.resume()
    await eventually(lambda: kubectl("get", "namespaces", "-o", "name"), why="it answers again")


def test_flags_of_an_own_plane_reach_the_program(own_plane: Callable[..., ControlPlane]) -> None:
    plane = own_plane(flags={"kube-apiserver": {"watch-cache": "false"}})
    command = Path(f"/proc/{plane.api.pid}/cmdline").read_bytes().split(b"\0")
    assert b"--watch-cache=false" in command
    plane.stop()
    assert not any(part.running for part in (plane.etcd, plane.api, plane.controllers, plane.scheduler))
