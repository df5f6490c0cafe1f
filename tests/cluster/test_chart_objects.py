"""Everything that the charts render is accepted by the real API server, without a warning, also of Pod Security."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import binaries
from tests.cluster.commands import Commands
from tests.cluster.conftest import Run
from tests.cluster.crd_support import install_crds
from tests.support import charts

FOREIGN = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")  # 别人的 CRD，这里没有装
SPACES = ("taskmill", "shop", "billing")


@pytest.fixture(scope="module", autouse=True)
def _spaces(kubectl: Run) -> Iterator[None]:
    install_crds(kubectl)
    for name in SPACES:
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        kubectl("apply", "-f", "-", stdin=json.dumps(space))
        kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=80s")
    yield
    for name in SPACES:
        kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("name", list(charts.SETS))
def test_the_api_server_accepts_every_object(commands: Commands, name: str) -> None:
    known = [o for o in charts.objects(charts.rendered(name)) if not o["apiVersion"].startswith(FOREIGN)]
    for each in known:
        if not each["kind"].startswith("Cluster"):
            each["metadata"].setdefault("namespace", charts.NAMESPACE)
    done = subprocess.run(
        [binaries.client("kubectl"), "apply", "--server-side", "--dry-run=server", "-f", "-"],
        input=yaml.safe_dump_all(known), capture_output=True, text=True, check=False, timeout=90, env=commands.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert len(done.stdout.splitlines()) == len(known)


def test_pod_security_would_warn(commands: Commands) -> None:
    pods = charts.find(charts.rendered("default"), "Deployment", "-api")
    pods["spec"]["template"]["spec"]["containers"][0]["securityContext"].pop("capabilities")
    done = subprocess.run(
        [binaries.client("kubectl"), "apply", "--server-side", "--dry-run=server", "-n", charts.NAMESPACE, "-f", "-"],
        input=json.dumps(pods), capture_output=True, text=True, check=False, timeout=90, env=commands.environment,
    )  # fmt: skip
    assert 'would violate PodSecurity "restricted:latest"' in done.stderr
