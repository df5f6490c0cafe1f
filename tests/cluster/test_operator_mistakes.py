"""The daily life around an operator: mistakes and their correction, quotas, sidecars, tenants that go, a second operator."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.services.tasks.submit_request import SubmitRequest
from tests.cluster.conftest import Run
from tests.cluster.kubelet.api import Json
from tests.cluster.operator_support import OperatorProcess, QueueSpace, Started, reason_of, submitting
from tests.support.waiting import eventually, slowness

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400), pytest.mark.slow]
QUEUE, SKIP = "emails", {"policy": "Skip"}
TOLD_S, READY_S = 60.0, 90.0  # 承诺：一分钟内说出来，改对之后九十秒内就绪
GROUPS = "/apis/admissionregistration.k8s.io/v1"


def message(queue: Json, kind: str) -> str:
    return next(each["message"] for each in queue["status"]["conditions"] if each["type"] == kind)


async def mended(space: QueueSpace, began: float) -> None:
    """The queue works again, and in time."""
    await space.serving(QUEUE, 1, timeout=READY_S * slowness())
    took = time.monotonic() - began
    print(f"\nmended → Ready {took:.1f} s")  # noqa: T201 - 量出来的数
    assert took < READY_S * slowness()


async def test_a_typo_in_the_image_is_told_and_its_correction_goes_on_at_once(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    await operators().leads()
    await space.queue(QUEUE, image="taskmill:tset", scaling={"minReplicas": 1})
    queue = await space.condition(QUEUE, "Migrated", "JobStuck", timeout=TOLD_S * slowness())
    assert "taskmill:tset" in message(queue, "Ready")
    assert reason_of(queue, "Ready") == "MigrationPending"
    await eventually(lambda: space.events("MigrationStuck"), why="one warning")
    began = time.monotonic()
    await space.change("TaskQueue", QUEUE, spec={"image": "taskmill:test"})
    await mended(space, began)


async def test_a_node_that_nobody_has_is_told_and_its_correction_goes_on_at_once(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    await operators().leads()
    await space.queue(QUEUE, scaling={"minReplicas": 1}, pod={"nodeSelector": {"disk": "none"}})
    queue = await space.condition(QUEUE, "Migrated", "JobStuck", timeout=TOLD_S * 2 * slowness())
    assert "node" in message(queue, "Ready")
    began = time.monotonic()
    await space.change("TaskQueue", QUEUE, spec={"pod": {"nodeSelector": None}})
    await mended(space, began)


async def test_a_quota_that_refuses_the_migration_is_told_by_its_own_words(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"limits.cpu": "4"}}}
    path = f"/api/v1/namespaces/{space.namespace}/resourcequotas"
    await space.api.request("POST", path, quota)
    await eventually(lambda: _measured(space, f"{path}/few"), timeout=30, why="the quota is in force")
    await operators().leads()
    await space.queue(QUEUE, scaling={"minReplicas": 1})
    queue = await space.condition(QUEUE, "Migrated", "JobStuck", timeout=TOLD_S * slowness())
    assert "limits.cpu" in message(queue, "Ready")
    began = time.monotonic()
    sized = {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    await space.change("TaskQueue", QUEUE, spec={"pod": {"resources": sized}})  # 迁移也跟着限了 CPU
    await mended(space, began)


async def _measured(space: QueueSpace, path: str) -> bool:
    return bool((await space.api.get(path)).get("status", {}).get("hard"))


async def test_overrides_of_a_wrong_shape_are_told_with_their_place_and_their_correction_goes_on(
    bare: QueueSpace, operators: Started
) -> None:
    operator = operators()
    await operator.leads()
    wrong = {"policy": "Skip", "pod": {"overrides": {"spec": "text"}}}
    await bare.queue(QUEUE, migration=wrong, pod={"serviceAccountName": "mine"})
    queue = await bare.condition(QUEUE, "Ready", "InvalidSpec", timeout=TOLD_S * slowness())
    assert "spec.migration.pod.overrides.spec: Expected `object`, got `str`" in message(queue, "Ready")
    await bare.change("TaskQueue", QUEUE, spec={"migration": {"pod": None}})
    await bare.condition(QUEUE, "Ready", "AsDesired", timeout=TOLD_S * slowness())
    assert operator.metric("taskmill_operator_reconciles_total", result="bug") == 0
    pod = (await bare.find("Deployment", names.workload(QUEUE)) or {})["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "mine"
    assert "automountServiceAccountToken" not in pod  # 指名的 ServiceAccount 自己说要不要令牌


async def test_a_sidecar_that_does_not_end_keeps_no_migration_open(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    name = f"sidecar-{space.namespace}"
    user = "securityContext: Object.spec.containers.securityContext{runAsUser: 65534}"
    container = f"Object.spec.containers{{name: 'proxy', image: 'shell:test', command: ['sh', '-c', 'sleep 600'], {user}}}"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": space.namespace}}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [pods], "namespaceSelector": here},
        "matchConditions": [{"name": "job", "expression": "'batch.kubernetes.io/job-name' in object.metadata.labels"}],
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {"expression": f"[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {container}}}]"},
            }
        ],
    }
    policy = {"kind": "MutatingAdmissionPolicy", "apiVersion": GROUPS.removeprefix("/apis/"), "metadata": {"name": name}}
    await space.api.request("POST", f"{GROUPS}/mutatingadmissionpolicies", {**policy, "spec": spec})
    binding = {**policy, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}}
    await space.api.request("POST", f"{GROUPS}/mutatingadmissionpolicybindings", binding)
    try:
        await eventually(lambda: _is_injected(space), timeout=60, poll=1, why="the policy is in force")
        await operators().leads()
        await space.queue(QUEUE, scaling={"minReplicas": 1})
        await space.serving(QUEUE, 1, timeout=120)
        (job,) = [each for each in await space.list("Job") if names.label(each, names.LABEL_PHASE) == "expand"]
        job = await space.until(
            "Job", job["metadata"]["name"], lambda it: it["spec"].get("suspend"), timeout=60, why="concluded"
        )
        assert names.annotation(job, names.MIGRATION_DONE)
        await eventually(lambda: _no_pods_of(space, job), timeout=60, why="the sidecar was stopped")
    finally:
        for plural in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
            await space.api.request("DELETE", f"{GROUPS}/{plural}/{name}")


async def test_a_restarted_operator_takes_what_a_policy_rewrote_for_no_edit(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    """Whose a field is stands in the object; a field that somebody changed meanwhile is set right all the same."""
    name, grace = f"grace-{space.namespace}", "spec.template.spec"
    rules = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}
    value = f"Object{{spec: Object.spec{{template: Object.spec.template{{spec: Object.{grace}{{terminationGracePeriodSeconds: 77}}}}}}}}"
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "resourceRules": [rules],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.namespace}},
        },
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": value}}],
    }
    policy = {"kind": "MutatingAdmissionPolicy", "apiVersion": GROUPS.removeprefix("/apis/"), "metadata": {"name": name}}
    await space.api.request("POST", f"{GROUPS}/mutatingadmissionpolicies", {**policy, "spec": spec})
    binding = {**policy, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}}
    await space.api.request("POST", f"{GROUPS}/mutatingadmissionpolicybindings", binding)
    try:
        await eventually(lambda: _grace_is(space, 77), timeout=60, poll=1, why="the policy is in force")
        first = operators()
        await first.leads()
        await space.queue(QUEUE)
        await space.condition(QUEUE, "Ready", "AsDesired", timeout=120)
        (before,) = await space.list("Deployment")
        assert before["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 77
        first.stop()
        second = operators(pod="operator-1")
        await second.leads()
        await eventually(lambda: _has_looked(second), timeout=60, why="it has looked at the queue")
        await asyncio.sleep(2)  # 若有多余的写，这时也已写了
        (after,) = await space.list("Deployment")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        second.stop()
        await space.change("Deployment", after["metadata"]["name"], spec={"revisionHistoryLimit": 9})
        await operators(pod="operator-2").leads()
        await space.until(
            "Deployment",
            after["metadata"]["name"],
            lambda it: it["spec"]["revisionHistoryLimit"] != 9,
            timeout=60,
            why="set right",
        )
    finally:
        for plural in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
            await space.api.request("DELETE", f"{GROUPS}/{plural}/{name}")


def _has_looked(operator: OperatorProcess) -> bool:
    try:
        return operator.metric("taskmill_operator_reconciles_total", kind="TaskQueue", result="ok") > 0
    except httpx2.HTTPError:
        return False


async def _grace_is(space: QueueSpace, seconds: int) -> bool:
    labels = {"app": "probe"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "shell:test"}]}}
    body = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    }  # fmt: skip
    made = await space.api.request("POST", space.path("Deployment") + "?dryRun=All", body)
    return made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


async def _is_injected(space: QueueSpace) -> bool:
    labels = {"batch.kubernetes.io/job-name": "probe"}
    body = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "shell:test"}]},
    }  # fmt: skip
    made = await space.api.request("POST", space.path("Pod") + "?dryRun=All", body)
    return len(made["spec"]["containers"]) > 1


async def _no_pods_of(space: QueueSpace, job: Json) -> bool:
    return not await space.list("Pod", f"batch.kubernetes.io/job-name={job['metadata']['name']}")


@pytest.fixture
def tenants(kubectl: Run, namespace: str) -> Any:
    """Two more namespaces."""
    made = [f"{namespace}-a", f"{namespace}-b"]
    for each in made:
        kubectl("create", "namespace", each)
    yield made
    for each in made:
        kubectl("delete", "namespace", each, "--wait=false")


def bound(kubectl: Run, account: str, *spaces: str) -> None:
    """Give a ServiceAccount all rights in these namespaces and no other."""
    home, name = account.split(":")
    for space in spaces:
        kubectl(
            "create",
            "rolebinding",
            "operator",
            "--clusterrole=cluster-admin",
            f"--serviceaccount={home}:{name}",
            "-n",
            space,
        )


def login(kubectl: Run, kubeconfig: Path, folder: Path, account: str) -> Path:
    """Return a kubeconfig that logs in as a ServiceAccount."""
    home, name = account.split(":")
    kubectl("create", "serviceaccount", name, "-n", home)
    content = json.loads(kubeconfig.read_text())
    content["users"][0]["user"] = {"token": kubectl("create", "token", name, "-n", home, "--duration=1h").strip()}
    made = folder / "tenant.kubeconfig"
    made.write_text(json.dumps(content))
    made.chmod(0o600)
    return made


async def test_a_tenant_that_loses_its_rights_costs_itself_alone(
    space: QueueSpace, tenants: list[str], kubectl: Run, kubeconfig: Path, tmp_path: Path, database_url: str, broker_url: str,
    operators: Started,
) -> None:  # fmt: skip
    home, (lost, kept) = space.namespace, tenants
    config = login(kubectl, kubeconfig, tmp_path, f"{home}:operator")
    bound(kubectl, f"{home}:operator", home, lost, kept)
    spaces = {each: QueueSpace(space.api, each) for each in tenants}
    for each in spaces.values():
        await each.secret("database", database_url)
        await each.secret("broker", broker_url)
    settings = {"OPERATOR_NAMESPACES": ",".join(tenants)}
    first = operators(kubeconfig=config, **settings)
    await first.leads()
    for each, name in zip(spaces.values(), ("one", "two"), strict=True):
        await each.queue(name, migration=SKIP)
        await each.condition(name, "Ready", "AsDesired", timeout=60)
    first.stop()
    kubectl("delete", "rolebinding", "operator", "-n", lost)
    second = operators(kubeconfig=config, pod="operator-1", **settings)
    await second.leads()
    assert second.metric("taskmill_operator_namespaces_lost") == 1
    assert lost in second.text
    await spaces[kept].change("TaskQueue", "two", spec={"stopPolicy": "Hold"})
    await spaces[kept].condition("two", "Ready", "Suspended", timeout=60)
    began = time.monotonic()
    bound(kubectl, f"{home}:operator", lost)
    await spaces[lost].change("TaskQueue", "one", spec={"stopPolicy": "Hold"})
    await spaces[lost].condition("one", "Ready", "Suspended", timeout=TOLD_S * slowness())
    assert time.monotonic() - began < TOLD_S * slowness()
    assert second.metric("taskmill_operator_namespaces_lost") == 0
    await spaces[kept].change("TaskQueue", "two", spec={"stopPolicy": "None"})
    await spaces[kept].condition("two", "Ready", "AsDesired", timeout=60)


async def test_of_two_operators_one_acts_and_the_other_says_so(
    bare: QueueSpace, tenants: list[str], operators: Started
) -> None:
    homes = [{"POD_NAMESPACE": home, "OPERATOR_LEASE_NAME": f"release-{home}"} for home in tenants]
    acting = operators(**homes[0])
    await acting.leads()
    await bare.queue(QUEUE, migration=SKIP, stopPolicy="Hold")
    await bare.condition(QUEUE, "Ready", "Suspended", timeout=60)
    other = operators(pod="operator-1", **homes[1])
    await other.leads()
    await eventually(lambda: other.metric("taskmill_operator_namespaces_foreign") == 1, timeout=60, why="it says who acts")
    assert f"{tenants[0]}/release-{tenants[0]}" in other.text
    before = [writes(each) for each in (acting, other)]
    ticks = acting.metric("taskmill_operator_tick_seconds_count") + 10
    await eventually(lambda: acting.metric("taskmill_operator_tick_seconds_count") >= ticks, timeout=60, why="ten ticks")
    assert sum(writes(each) for each in (acting, other)) - sum(before) <= 1
    acting.stop()  # 交还；另一个接手，队列还由它的 TaskQueue 停着，它来放开
    await eventually(lambda: other.metric("taskmill_operator_namespaces_foreign") == 0, timeout=120, why="it takes over")
    await bare.change("TaskQueue", QUEUE, spec={"stopPolicy": "None"})
    queue = await bare.condition(QUEUE, "Ready", "AsDesired", timeout=60)
    assert queue["status"]["queue"]["paused"] is False


async def test_after_an_operator_that_was_killed_another_says_for_whom_it_waits_and_takes_over(
    bare: QueueSpace, tenants: list[str], operators: Started
) -> None:
    homes = [{"POD_NAMESPACE": home, "OPERATOR_LEASE_NAME": f"release-{home}"} for home in tenants]
    gone = operators(**homes[0])
    await gone.leads()
    await bare.queue(QUEUE, migration=SKIP)
    await bare.condition(QUEUE, "Ready", "AsDesired", timeout=60)
    gone.kill()
    began = time.monotonic()
    other = operators(pod="operator-1", **homes[1])
    await other.leads()
    await bare.queue("late", migration=SKIP, queueName="late")
    queue = await bare.condition("late", "Ready", "ClaimedByOther", timeout=60 * slowness())
    assert f"{tenants[0]}/release-{tenants[0]}" in message(queue, "Ready")
    await bare.condition("late", "Ready", "AsDesired", timeout=180 * slowness())
    assert time.monotonic() - began < c.CLAIM_MISSED * c.CLAIM_RENEW_S + c.CLAIM_LOOK_S * 2 * slowness()


def writes(operator: Any) -> float:
    """Writes to the API server but those of the election."""
    return sum(operator.metric("taskmill_operator_api_requests_total", verb=verb) for verb in ("apply", "patch", "create"))


async def test_workers_that_are_refused_by_valkey_are_no_green_light(
    space: QueueSpace, operators: Started, connected: None, broker_url: str
) -> None:
    refused = broker_url.replace("redis://", "redis://nobody:wrong@")
    await space.secret("broker", refused)
    await operators().leads()
    await space.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 1})
    queue = await space.condition(QUEUE, "BrokerReachable", "BrokerUnreachable", timeout=120)
    assert "invalid username-password pair" in message(queue, "BrokerReachable")
    await space.condition(QUEUE, "Ready", "BrokerUnreachable", timeout=60)
    await eventually(lambda: space.events("BrokerUnreachable"), why="one warning")
    began = time.monotonic()
    await space.secret("broker", broker_url)
    await mended(space, began)
    await space.condition(QUEUE, "BrokerReachable", "Reachable")


async def test_tasks_that_no_worker_serves_are_told_with_their_kind(
    space: QueueSpace, operators: Started, connected: None, database_url: str, broker_url: str
) -> None:
    await operators().leads()
    await space.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 1})
    await space.serving(QUEUE, 1)
    async with submitting(database_url, broker_url) as platform:
        asked = SubmitRequest(kind="http.request", queue=QUEUE, args={"method": "GET", "url": "http://example.org"})
        await platform.submit.submit(asked)
        queue = await space.condition(QUEUE, "KindsServed", "KindsNotServed", timeout=60)
    assert "http.request:1" in message(queue, "KindsServed")
    await space.condition(QUEUE, "Ready", "KindsNotServed", timeout=60)


async def test_a_plugin_that_is_named_and_not_there_keeps_the_workers_from_being_ready(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    await operators().leads()
    await space.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 1}, plugins=[{"name": "paymenst"}])
    queue = await space.condition(QUEUE, "Ready", "WorkersFailing", timeout=120)
    assert message(queue, "Ready") == "plugin paymenst: is not installed"
    assert queue["status"].get("readyReplicas", 0) == 0
    began = time.monotonic()
    await space.change("TaskQueue", QUEUE, spec={"plugins": [{"name": "shell", "config": {"allow": "/usr/bin/sleep"}}]})
    await mended(space, began)


async def test_an_object_that_no_operator_watches_says_so(bare: QueueSpace, kubectl: Run) -> None:
    made = await bare.queue(QUEUE)
    assert (reason_of(made, "Ready"), made["status"]["observedGeneration"]) == ("Pending", -1)
    table = kubectl("get", "taskqueue", QUEUE, "-n", bare.namespace)
    assert table.splitlines()[1].split()[1] == "Unknown"
