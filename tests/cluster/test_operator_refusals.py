"""What a cluster refuses and what a spec names: told by its name, and right again within 90 s of being mended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from taskmill.kube import names
from tests.cluster.conftest import Run
from tests.cluster.kubelet.api import ApiError, Json
from tests.cluster.operator_support import QueueSpace, Started, reason_of
from tests.support.waiting import eventually, slowness

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.slow]
QUEUE, SKIP = "emails", {"policy": "Skip"}
TOLD_S, READY_S = 60.0, 90.0
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
WORDS = "every object here needs the label team"
EXPRESSION = "has(object.metadata.labels) && 'team' in object.metadata.labels"


def message(queue: Json, kind: str) -> str:
    return next(each["message"] for each in queue["status"]["conditions"] if each["type"] == kind)


async def told(space: QueueSpace, kind: str, reason: str) -> Json:
    """Wait for a reason, no longer than was promised."""
    return await space.condition(QUEUE, kind, reason, timeout=TOLD_S * slowness())


async def right_again(space: QueueSpace, fault: str, pods: int = 0) -> None:
    """The queue works again, in time."""
    began, limit = time.monotonic(), READY_S * slowness()
    await (
        space.serving(QUEUE, pods, timeout=limit) if pods else space.condition(QUEUE, "Ready", "AsDesired", timeout=limit)
    )
    print(f"\n{fault}: mended → Ready {time.monotonic() - began:.1f} s")  # noqa: T201 - 量出来的数


@asynccontextmanager
async def refusing(space: QueueSpace, group: str, resource: str, probe: Json) -> AsyncIterator[None]:
    """A policy on new objects of a kind in this namespace, in force: `probe` is refused."""
    name = f"team-{space.namespace}"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": space.namespace}}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
        "validations": [{"expression": EXPRESSION, "message": WORDS}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    await space.api.request("POST", f"{POLICIES}ies", {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec})
    await space.api.request(
        "POST", f"{POLICIES}ybindings", {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding}
    )

    async def in_force() -> bool:
        try:
            await space.api.request("POST", space.path(probe["kind"]) + "?dryRun=All", probe)
        except ApiError as error:
            return WORDS in str(error)
        return False

    try:
        await eventually(in_force, timeout=60, poll=0.5, why="the policy is in force")
        yield
    finally:
        for kind in ("ybindings", "ies"):
            await space.api.request("DELETE", f"{POLICIES}{kind}/{name}")


def probe(kind: str) -> Json:
    pod = {"containers": [{"name": "main", "image": "shell:test"}]}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "probe"}, "spec": pod}
    labels = {"app": "probe"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "probe"}, "spec": spec}


async def test_a_quota_on_deployments_is_told_beside_what_is_known(bare: QueueSpace, operators: Started) -> None:
    path = f"/api/v1/namespaces/{bare.namespace}/resourcequotas"
    hard = {"count/deployments.apps": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    await bare.api.request("POST", path, quota)

    async def in_force() -> bool:
        return (await bare.api.get(f"{path}/none")).get("status", {}).get("hard") == hard

    await eventually(in_force, timeout=60, poll=0.2, why="the quota is in force")
    await operators().leads()
    await bare.queue(QUEUE, migration=SKIP)
    queue = await told(bare, "Ready", "QuotaExceeded")
    assert "deployments.apps" in message(queue, "Ready")
    assert reason_of(queue, "Migrated") == "Skipped", "what was seen is written in a round that fails, too"
    assert await bare.events("QuotaExceeded")
    await bare.api.request("DELETE", f"{path}/none")
    await right_again(bare, "quota on Deployments")


async def test_a_policy_on_deployments_is_told_in_its_own_words(bare: QueueSpace, operators: Started) -> None:
    await operators().leads()
    async with refusing(bare, "apps", "deployments", probe("Deployment")):
        await bare.queue(QUEUE, migration=SKIP)
        queue = await told(bare, "Ready", "AdmissionRefused")
        assert WORDS in message(queue, "Ready")
    await right_again(bare, "policy on Deployments")


async def test_a_policy_on_pods_is_told_of_the_migration_and_a_label_of_the_pod_mends_it(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    await operators().leads()
    async with refusing(space, "", "pods", probe("Pod")):
        await space.queue(QUEUE, scaling={"minReplicas": 1})
        queue = await told(space, "Migrated", "JobStuck")
        assert WORDS in message(queue, "Ready")
        await space.change("TaskQueue", QUEUE, spec={"pod": {"labels": {"team": "shop"}}})  # 迁移的 Pod 也带上
        await right_again(space, "policy on pods", 1)


async def test_what_a_volume_names_is_missed_by_name_and_rolls_the_workers(bare: QueueSpace, operators: Started) -> None:
    await operators().leads()
    volumes = [{"name": "tls", "secret": {"secretName": "tls"}}]
    await bare.queue(QUEUE, migration=SKIP, pod={"volumes": volumes, "envFrom": [{"configMapRef": {"name": "options"}}]})
    queue = await told(bare, "Ready", "ConnectionSecretMissing")
    assert message(queue, "Ready") == "ConfigMap options is missing"
    await bare.make("ConfigMap", "options", data={"LEVEL": "1"})
    await bare.until(
        "TaskQueue", QUEUE, lambda it: message(it, "Ready") == "Secret tls is missing", timeout=TOLD_S, why="the next one"
    )
    await bare.secret("tls", "first")
    await right_again(bare, "missing Secret and ConfigMap")

    def rolled(it: Json) -> bool:
        return it["spec"]["template"] != before["spec"]["template"]

    (before,) = await bare.list("Deployment")
    await bare.secret("tls", "second")
    await bare.until("Deployment", before["metadata"]["name"], rolled, timeout=TOLD_S, why="a changed Secret of a volume")


async def test_workers_keep_the_image_of_an_older_operator_and_say_how_to_get_the_new_one(
    bare: QueueSpace, operators: Started
) -> None:
    first = operators(OPERATOR_IMAGE="taskmill:one")
    await first.leads()
    await bare.queue(QUEUE, migration=SKIP, image=None)
    await bare.condition(QUEUE, "Ready", "AsDesired", timeout=TOLD_S)
    first.stop()
    await operators(pod="operator-1", OPERATOR_IMAGE="taskmill:two").leads()

    def says_so(it: Json) -> bool:
        return "The workers keep taskmill:one; for this operator's taskmill:two" in message(it, "Ready")

    await bare.until("TaskQueue", QUEUE, says_so, timeout=TOLD_S, why="the image that is kept")
    await bare.change("TaskQueue", QUEUE, metadata={"annotations": {names.ADOPT_TEMPLATE: "latest"}})
    await bare.until("Deployment", names.workload(QUEUE), lambda it: image(it) == "taskmill:two", timeout=TOLD_S)


def image(deployment: Json) -> str:
    return deployment["spec"]["template"]["spec"]["containers"][0]["image"]


async def test_a_rollout_that_a_person_restarts_is_no_drift(bare: QueueSpace, operators: Started, kubectl: Run) -> None:
    await operators().leads()
    await bare.queue(QUEUE, migration=SKIP)
    await bare.condition(QUEUE, "Ready", "AsDesired", timeout=TOLD_S)
    kubectl("rollout", "restart", f"deployment/{names.workload(QUEUE)}", "-n", bare.namespace)
    for policy, reason in (("Hold", "Suspended"), ("None", "AsDesired")):  # 两轮都看过这个 Deployment
        await bare.change("TaskQueue", QUEUE, spec={"stopPolicy": policy})
        await bare.condition(QUEUE, "Ready", reason, timeout=TOLD_S)
    (deployment,) = await bare.list("Deployment")
    assert "kubectl.kubernetes.io/restartedAt" in deployment["spec"]["template"]["metadata"]["annotations"]
    assert await bare.events("DriftCorrected") == []
