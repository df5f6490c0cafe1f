"""Every role runs from the image without any right, with a root file system that it cannot write."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from taskmill.dev.process_table import wait_until
from taskmill.kube import names
from tests.cluster import binaries
from tests.cluster.plane import ControlPlane
from tests.image.build import CHECKOUT
from tests.image.roles import START_S, Roles, is_completed, readable, submit_line
from tests.support.requires import missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAGES = ("/healthz", "/readyz", "/schema/openapi.json", "/dashboard/")
NO_RIGHTS = {"CapPrm": 0, "CapEff": 0, "CapBnd": 0}


@pytest.fixture(scope="module")
def plane(server_root: Path) -> Iterator[ControlPlane]:
    """A control plane without nodes: enough for an operator."""
    if binaries.absent():
        missing("the Kubernetes control plane", target="controlplane")
    with ControlPlane(server_root / "plane") as started:
        yield started


def secret(name: str, url: str) -> dict[str, Any]:
    """Return the Secret of a connection."""
    data = {"url": base64.b64encode(url.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def locked_up(roles: Roles, container: str) -> bool:
    """Return whether the first process has no capability, is not root, and cannot write where the program is."""
    status = dict(
        line.split(":\t", 1) for line in roles.within(container, "cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    assert {name: int(status[name], 16) for name in NO_RIGHTS} == NO_RIGHTS
    assert status["NoNewPrivs"] == "1"
    assert "0" not in status["Uid"].split()
    writing = "test ! -w / && test ! -w /opt/taskmill && test -w /tmp && echo locked"
    return roles.within(container, "sh", "-c", writing).strip() == "locked"


def test_a_task_goes_through_every_role(roles: Roles) -> None:
    roles.once("migrate", "up")
    token = json.loads(roles.once("key", "create", "ci", "-o", "json"))["secret"]
    running = {role: roles.start(role) for role in ("worker", "scheduler")}
    running["api"] = roles.start("api", "--host", "127.0.0.1", "--port", "0")
    url = roles.url_of(running["api"])
    task = json.loads(roles.once(*submit_line(url, token)))
    assert is_completed(task), task
    for page in PAGES:
        assert httpx2.get(url + page, follow_redirects=True).status_code == 200, page
    roles.within(running["worker"], "taskmill", "doctor")  # compose.yaml 问的就是它
    for role, container in running.items():
        assert locked_up(roles, container), role
        assert roles.stop(container) == 0, roles.told(container)


def test_the_operator_serves_a_queue(
    roles: Roles, plane: ControlPlane, tmp_path: Path, empty_database_url: str, broker_url: str
) -> None:
    plane.kubectl("apply", "--server-side", "-f", str(CHECKOUT / "crds"))
    space = f"image-{secrets.token_hex(4)}"
    plane.kubectl("create", "namespace", space)
    urls = {"database": empty_database_url, "broker": broker_url}
    connection = {f"{name}SecretRef": {"name": name} for name in urls}
    queue = {"apiVersion": names.API_VERSION, "kind": "TaskQueue", "metadata": {"name": "jobs"}}
    queue["spec"] = {"image": "taskmill:test", "connection": connection}
    for item in (*(secret(name, url) for name, url in urls.items()), queue):
        plane.commands.kubectl("apply", "-n", space, "-f", "-", stdin=json.dumps(item))
    (tmp_path / "kube").mkdir()
    settings = {"POD_NAME": "operator-0", "POD_NAMESPACE": space, "OPERATOR_HEALTH_PORT": "0"}
    environment = [f"--env=TASKMILL_{name}={text}" for name, text in settings.items()]
    options = (*readable(tmp_path / "kube", plane.kubeconfig), *environment)
    operator = roles.start("operator", "--namespace", space, options=options)

    def has_begun() -> bool:
        """It has told about the queue, and made the Job that migrates the empty database."""
        told = plane.kubectl("get", "taskqueue", "jobs", "-n", space, "-o", "jsonpath={.status.conditions[*].type}")
        return "Ready" in told.split() and bool(plane.kubectl("get", "jobs", "-n", space, "-o", "name"))

    assert wait_until(has_begun, START_S), roles.told(operator)
    assert locked_up(roles, operator)
    assert roles.stop(operator) == 0, roles.told(operator)
