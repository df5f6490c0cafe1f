"""The process kubelet keeps the promises of a real one: what controllers, the scheduler and other pods see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.kubelet.api import Api, ApiError, Cluster, Json
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.objects import Space, condition, main_state, pod_spec, shell, template
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
SERVE = "mkdir /www; cd /www; hostname > name; exec python -m http.server --bind $TASKMILL_BIND_HOST 8000"
READY = {"httpGet": {"path": "/name", "port": 8000}, "periodSeconds": 1, "failureThreshold": 1}


@pytest.fixture
async def space(kubeconfig: Path, nodes: Kubelet, namespace: str) -> AsyncIterator[Space]:
    async with Api(Cluster(kubeconfig)) as api:
        yield Space(api, namespace)


async def deploy(space: Space, replicas: int, script: str = SERVE) -> list[Json]:
    """Make the Deployment `web` and return its pods when all are ready."""
    labels = {"app": "web"}
    container = shell(script, readinessProbe=READY, ports=[{"containerPort": 8000, "name": "http"}])
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels, container)}
    await space.make("Deployment", "web", spec=spec)
    await ready(space, replicas)
    return await space.list("Pod", "app=web")


async def ready(space: Space, replicas: int) -> None:
    await space.until("Deployment", "web", lambda d: d["status"].get("readyReplicas", 0) == replicas)


async def test_scale_down_takes_the_pod_first_that_is_not_ready(space: Space, nodes: Kubelet) -> None:
    pods = await deploy(space, 3)
    oldest = min(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    name = oldest["metadata"]["name"]
    Path(f"/proc/{nodes.pid(space.namespace, name)}/root/www/name").unlink()
    await ready(space, 2)
    await space.change("Deployment", "web", spec={"replicas": 2})
    await space.until_gone("Pod", name)
    assert len([pod for pod in await space.list("Pod", "app=web") if "deletionTimestamp" not in pod["metadata"]]) == 2


async def test_a_pod_reaches_a_service_by_name_through_the_proxy(space: Space, nodes: Kubelet) -> None:
    await deploy(space, 2)
    await space.make("Service", "front", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]})
    fetch = (
        "import urllib.request as u, time\n"
        "def get(url):\n"
        "    try: return u.urlopen(url, timeout=5).read().decode().strip()\n"
        "    except Exception as e: return type(e).__name__\n"
        f"urls = ['http://front/name', 'http://front.{space.namespace}.svc:80/name',"
        f" 'http://front.{space.namespace}.svc.cluster.local/name']\n"
        "end = time.monotonic() + 10\n"
        "while get(urls[0]) == 'HTTPError' and time.monotonic() < end: time.sleep(0.1)\n"
        "print(*[get(url) for url in urls * 2], get('http://front:81/'))\n"
    )
    client = shell('python -c "$CODE"', env=[{"name": "CODE", "value": fetch}])
    await space.make("Pod", "client", spec=pod_spec(client))
    await space.until("Pod", "client", lambda p: p["status"].get("phase") == "Succeeded")
    *answers, refused = nodes.logs(space.namespace, "client").split()
    assert set(answers) == {pod["metadata"]["name"] for pod in await space.list("Pod", "app=web")}
    assert refused == "HTTPError"


async def test_a_job_with_exit_42_fails_with_one_pod(space: Space) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    spec = {
        "backoffLimit": 3,
        "podFailurePolicy": {"rules": rules},
        "template": {"spec": pod_spec(shell("exit 42"))},
    }
    await space.make("Job", "migrate", spec=spec)
    job = await space.until("Job", "migrate", lambda j: condition(j, "Failed"))
    assert condition(job, "Failed")["reason"] == "PodFailurePolicy"
    assert job["status"]["failed"] == 1
    assert len(await space.list("Pod", "job-name=migrate")) == 1


async def test_the_pods_of_a_deleted_job_lose_their_finalizer(space: Space) -> None:
    trap = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    await space.make("Job", "long", spec={"template": {"spec": pod_spec(shell(trap), terminationGracePeriodSeconds=20)}})
    await space.until("Job", "long", lambda j: j["status"].get("ready") == 1)
    await space.delete("Job", "long")
    await space.until_gone("Job", "long")
    await eventually(lambda: gone(space, "job-name=long"), timeout=90, poll=0.1)


async def gone(space: Space, selector: str) -> bool:
    return not await space.list("Pod", selector)


async def test_the_eviction_api_respects_a_budget(space: Space) -> None:
    pods = await deploy(space, 2)
    await space.make("PodDisruptionBudget", "web", spec={"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    await space.until("PodDisruptionBudget", "web", lambda b: b.get("status", {}).get("currentHealthy") == 2)
    name = pods[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    with pytest.raises(ApiError) as refused:
        await space.api.request("POST", space.path("Pod", f"{name}/eviction"), eviction)
    assert refused.value.status == 429
    await space.change("PodDisruptionBudget", "web", spec={"minAvailable": 1})
    await space.until("PodDisruptionBudget", "web", lambda b: b["status"].get("disruptionsAllowed") == 1)
    await space.api.request("POST", space.path("Pod", f"{name}/eviction"), eviction)
    await space.until_gone("Pod", name)
    await ready(space, 2)


async def test_the_pods_of_a_lost_node_are_started_again_when_it_returns(space: Space, nodes: Kubelet) -> None:
    (pod,) = await deploy(space, 1)
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    nodes.lose_node(node)
    try:
        assert main_state((await space.find("Pod", name)) or {}).get("running")
    finally:
        nodes.restore_node(node)
    again = await space.until("Pod", name, lambda p: condition(p, "Ready")["status"] == "True" and restarts(p) == 1)
    assert again["status"]["podIP"] == pod["status"]["podIP"]


def restarts(pod: Json) -> int:
    return pod["status"]["containerStatuses"][0]["restartCount"]


async def test_readiness_that_goes_off_is_seen_by_the_replica_set(space: Space, nodes: Kubelet) -> None:
    pods = await deploy(space, 2)
    (owner,) = await space.list("ReplicaSet", "app=web")
    name = pods[1]["metadata"]["name"]
    page = Path(f"/proc/{nodes.pid(space.namespace, name)}/root/www/name")
    page.unlink()
    await space.until("ReplicaSet", owner["metadata"]["name"], lambda r: r["status"].get("readyReplicas") == 1)
    page.write_text("back")
    await space.until("ReplicaSet", owner["metadata"]["name"], lambda r: r["status"].get("readyReplicas") == 2)


async def test_a_pod_reaches_the_api_server_with_its_own_identity(space: Space, nodes: Kubelet) -> None:
    code = (
        "import os, ssl, json, urllib.request as u\n"
        "base = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "read = lambda name: open(base + name).read()\n"
        "tls = ssl.create_default_context(cafile=base + 'ca.crt')\n"
        "body = json.dumps({'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}).encode()\n"
        "head = {'Authorization': 'Bearer ' + read('token'), 'Content-Type': 'application/json'}\n"
        "direct = 'https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}'.format(**os.environ)\n"
        "proxied = u.build_opener(u.ProxyHandler({'https': os.environ['HTTP_PROXY']}), u.HTTPSHandler(context=tls))\n"
        "for opened, server in ((u.build_opener(u.HTTPSHandler(context=tls)), direct),"
        " (proxied, 'https://kubernetes.default.svc')):\n"
        "    path = '/apis/authentication.k8s.io/v1/selfsubjectreviews'\n"
        "    answer = json.load(opened.open(u.Request(server + path, body, head)))\n"
        "    print(answer['status']['userInfo']['username'], answer['status']['userInfo']['extra']"
        "['authentication.kubernetes.io/pod-name'][0])\n"
    )
    client = shell('exec python -c "$CODE"', env=[{"name": "CODE", "value": code}])
    await space.make("Pod", "p", spec=pod_spec(client))
    await space.until("Pod", "p", lambda p: p["status"].get("phase") in ("Succeeded", "Failed"))
    line = f"system:serviceaccount:{space.namespace}:default p"
    assert nodes.logs(space.namespace, "p").splitlines() == [line, line]
