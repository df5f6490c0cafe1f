"""Before a release goes, its TaskQueues and TaskSchedules go, and only those; what hangs is forced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config
from prometheus_client import CollectorRegistry, Counter

from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.names import FINALIZER, FORCE_DELETE
from taskmill.kube.uninstall import uninstall
from tests.cluster.commands import Commands
from tests.cluster.conftest import Run
from tests.cluster.crd_support import install_crds, task_queue, task_schedule, text

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", autouse=True)
def _crds(kubectl: Run) -> None:
    install_crds(kubectl)


def create(kubectl: Run, namespace: str, manifest: dict[str, Any], release: str, *finalizers: str) -> None:
    labels = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": release}
    manifest["metadata"] |= {"labels": labels, "finalizers": list(finalizers)}
    kubectl("create", "-n", namespace, "-f", "-", stdin=text(manifest))


def test_only_the_release_is_removed(kubectl: Run, commands: Commands, namespace: str) -> None:
    create(kubectl, namespace, task_queue("ours"), "demo")
    create(kubectl, namespace, task_schedule("ours", intervalSeconds=60), "demo")
    create(kubectl, namespace, task_queue("theirs"), "other")
    kubectl("create", "-n", namespace, "-f", "-", stdin=text(task_queue("by-hand")))
    arguments = [f"--namespace={namespace}", "--release=demo", "--timeout=20"]
    done = subprocess.run(
        [sys.executable, "-m", "taskmill.kube.uninstall", *arguments],
        env=commands.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = kubectl("get", "tq,tsched", "-n", namespace, "-o", "name").split()
    assert left == ["taskqueue.taskmill.dev/by-hand", "taskqueue.taskmill.dev/theirs"]


@pytest.mark.parametrize(
    ("others", "code", "left"),
    [
        ("refuse", 1, ["taskqueue.taskmill.dev/by-hand", "taskqueue.taskmill.dev/ours"]),
        ("drain", 0, []),
        ("ignore", 0, ["taskqueue.taskmill.dev/by-hand"]),
    ],
)
def test_objects_of_others_stop_it_by_name_or_go_or_stay(
    kubectl: Run, commands: Commands, namespace: str, others: str, code: int, left: list[str], tmp_path: Path
) -> None:
    create(kubectl, namespace, task_queue("ours"), "demo")
    kubectl("create", "-n", namespace, "-f", "-", stdin=text(task_queue("by-hand")))
    arguments = [f"--namespace={namespace}", "--release=demo", "--timeout=20", f"--others={others}"]
    arguments += ["--operator=demo-operator", f"--report={tmp_path}/told"]
    done = subprocess.run(
        [sys.executable, "-m", "taskmill.kube.uninstall", *arguments],
        env=commands.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("taskqueue/by-hand" in done.stderr + done.stdout) is (code == 1)
    told = (tmp_path / "told").read_text() if code == 1 else ""
    assert ("not made by this release: taskqueue/by-hand" in told) is (code == 1)
    assert kubectl("get", "tq,tsched", "-n", namespace, "-o", "name").split() == left


async def test_what_hangs_is_forced_and_told(kubectl: Run, kubeconfig: Path, namespace: str) -> None:
    create(kubectl, namespace, task_queue("stuck"), "demo", FINALIZER)
    configuration = Configuration()
    await load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    client = KubeClient(configuration, Counter("requests", "Requests.", ["verb", "code"], registry=CollectorRegistry()))
    try:
        assert not await uninstall(client, namespace, "demo", 0, force_s=0)
    finally:
        await client.close()
    stuck = json.loads(kubectl("get", "tq", "stuck", "-n", namespace, "-o", "json"))["metadata"]
    assert stuck["deletionTimestamp"]
    assert stuck["annotations"][FORCE_DELETE] == "true"
    change = json.dumps({"metadata": {"finalizers": None}})
    kubectl("patch", "tq", "stuck", "-n", namespace, "--type=merge", "-p", change)
