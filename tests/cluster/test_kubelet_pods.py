"""The process kubelet keeps the promises of a real one: single pods."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.kubelet.api import Api, Cluster
from tests.cluster.kubelet.images import CHECKOUT
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.objects import Space, condition, main_state, pod_spec, shell
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
TRAP = "trap 'echo stopping; exit 0' TERM; echo up; while :; do sleep 0.1; done"


@pytest.fixture
async def space(kubeconfig: Path, nodes: Kubelet, namespace: str) -> AsyncIterator[Space]:
    async with Api(Cluster(kubeconfig)) as api:
        yield Space(api, namespace)


def ended(pod: dict) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


async def test_environment_and_volumes_reach_the_process(space: Space, nodes: Kubelet) -> None:
    await space.make("Secret", "s", data={"url": base64.b64encode(b"postgres://x").decode()})
    await space.make("ConfigMap", "c", data={"colour": "blue", "shape": "round"})
    env = [
        {"name": "URL", "valueFrom": {"secretKeyRef": {"name": "s", "key": "url"}}},
        {"name": "SHAPE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "shape"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "nope", "key": "x", "optional": True}}},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "GREETING", "value": "$(ME) is $(SHAPE), $$(ME) $(WHO)"},
    ]
    script = (
        'echo "$URL|$SHAPE|${NONE-unset}|$ME|$ID|$IP|$TIER|$MEM|$GREETING|$P_colour|$1"; hostname;'
        "cat /etc/app/colour /etc/app/who /etc/app/url; test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token;"
        "echo x > /scratch/f && cat /scratch/f; pwd; echo y > /etc/app/z || echo read-only"
    )
    container = shell(
        script,
        env=env,
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
        args=["sh", "$(TIER)"],
        workingDir="/scratch",
        resources={"limits": {"memory": "64Mi"}},
        volumeMounts=[{"name": "app", "mountPath": "/etc/app"}, {"name": "tmp", "mountPath": "/scratch"}],
    )
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "colour", "path": "colour"}]}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "who", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    volumes = [{"name": "app", "projected": {"sources": sources}}, {"name": "tmp", "emptyDir": {}}]
    await space.make("Pod", "p", labels={"tier": "gold"}, spec=pod_spec(container, volumes=volumes))
    pod = await space.until("Pod", "p", ended)
    lines = nodes.logs(space.namespace, "p").splitlines()
    uid, address = pod["metadata"]["uid"], pod["status"]["podIP"]
    assert lines[0] == f"postgres://x|round|unset|p|{uid}|{address}|gold|64|p is round, $(ME) $(WHO)|blue|gold"
    assert lines[1:3] == ["p", "blueppostgres://xtoken"]
    assert lines[3:5] == ["x", "/scratch"]
    assert lines[-1] == "read-only"
    assert pod["status"]["phase"] == "Succeeded"
    assert not address.startswith("127.")


async def test_a_missing_secret_holds_the_container_back_until_it_appears(space: Space, nodes: Kubelet) -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "a"}}}]
    await space.make("Pod", "p", spec=pod_spec(shell('echo "$A"', env=env)))
    await space.until("Pod", "p", lambda p: main_state(p).get("waiting", {}).get("reason") == "CreateContainerConfigError")
    await space.make("Secret", "late", data={"a": base64.b64encode(b"here").decode()})
    await space.until("Pod", "p", lambda p: p["status"]["phase"] == "Succeeded")
    assert nodes.logs(space.namespace, "p") == "here\n"


async def test_exit_code_and_termination_message(space: Space) -> None:
    tail = shell("echo last words; exit 42", terminationMessagePolicy="FallbackToLogsOnError")
    file = shell("printf '{\"to\": 2}' > /dev/termination-log") | {"name": "file"}
    await space.make("Pod", "p", spec=pod_spec(tail, file))
    pod = await space.until("Pod", "p", ended)
    states = {item["name"]: item["state"]["terminated"] for item in pod["status"]["containerStatuses"]}
    assert (states["main"]["exitCode"], states["main"]["reason"], states["main"]["message"]) == (42, "Error", "last words\n")
    assert (states["file"]["exitCode"], states["file"]["reason"], states["file"]["message"]) == (0, "Completed", '{"to": 2}')
    assert pod["status"]["phase"] == "Failed"


async def test_init_containers_go_first_and_a_crash_is_restarted_with_back_off(space: Space, nodes: Kubelet) -> None:
    spec = pod_spec(
        shell("cat /d/f; exit 3", volumeMounts=[{"name": "d", "mountPath": "/d"}]),
        initContainers=[shell("echo a > /d/f", volumeMounts=[{"name": "d", "mountPath": "/d"}]) | {"name": "before"}],
        volumes=[{"name": "d", "emptyDir": {}}],
        restartPolicy="Always",
    )
    await space.make("Pod", "p", spec=spec)
    pod = await space.until("Pod", "p", lambda p: main_state(p).get("waiting", {}).get("reason") == "CrashLoopBackOff")
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert pod["status"]["phase"] == "Running"
    assert condition(pod, "Initialized")["status"] == "True"
    assert condition(pod, "Ready")["status"] == "False"
    assert nodes.logs(space.namespace, "p", "main").startswith("a\na\n")


async def test_deletion_runs_pre_stop_then_sigterm(space: Space, nodes: Kubelet) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /proc/1/fd/1"]}}}
    await space.make("Pod", "p", spec=pod_spec(shell(TRAP, lifecycle=hook), terminationGracePeriodSeconds=30))
    await space.until("Pod", "p", lambda p: "running" in main_state(p))
    await eventually(lambda: "up" in nodes.logs(space.namespace, "p"))
    await space.delete("Pod", "p")
    await space.until_gone("Pod", "p", timeout=60)
    assert nodes.logs(space.namespace, "p").splitlines() == ["up", "hook", "stopping"]


async def test_after_the_grace_everything_is_killed(space: Space, nodes: Kubelet) -> None:
    script = "trap '' TERM; sleep 1000 & echo up; while :; do sleep 0.1; done"
    await space.make("Pod", "p", spec=pod_spec(shell(script)))
    await space.until("Pod", "p", lambda p: "running" in main_state(p))
    pid = nodes.pid(space.namespace, "p")
    await eventually(lambda: "up" in nodes.logs(space.namespace, "p"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children
    await space.delete("Pod", "p")
    await space.until_gone("Pod", "p", timeout=60)
    assert not [number for number in [pid, *map(int, children)] if alive(number)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_oom_kill_and_kill_9(space: Space, nodes: Kubelet) -> None:
    for name in ("oom", "kill"):
        await space.make("Pod", name, spec=pod_spec(shell(TRAP)))
    for name in ("oom", "kill"):
        await space.until("Pod", name, lambda p: "running" in main_state(p))
    nodes.oom(space.namespace, "oom")
    nodes.kill(space.namespace, "kill")
    for name, reason in (("oom", "OOMKilled"), ("kill", "Error")):
        found = main_state(await space.until("Pod", name, ended))["terminated"]
        assert (found["exitCode"], found["reason"]) == (137, reason)


async def test_evicted_by_the_node(space: Space, nodes: Kubelet) -> None:
    await space.make("Pod", "p", spec=pod_spec(shell(TRAP), restartPolicy="Always"))
    await space.until("Pod", "p", lambda p: "running" in main_state(p))
    nodes.evict(space.namespace, "p")
    pod = await space.until("Pod", "p", ended)
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "Evicted")
    assert condition(pod, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    await space.delete("Pod", "p")
    await space.until_gone("Pod", "p")


async def test_an_unknown_image_cannot_be_pulled_until_it_exists(space: Space, nodes: Kubelet) -> None:
    await space.make("Pod", "p", spec=pod_spec(shell("echo hi", image="late:v1", imagePullPolicy="Always")))
    reasons: set[str] = set()

    def both(pod: dict) -> bool:
        reasons.add(main_state(pod).get("waiting", {}).get("reason", ""))
        return {"ErrImagePull", "ImagePullBackOff"} <= reasons

    pod = await space.until("Pod", "p", both)
    assert pod["status"]["phase"] == "Pending"
    nodes.images.add("late:v1", nodes.images.pull("shell:test"))
    await space.until("Pod", "p", lambda p: p["status"]["phase"] == "Succeeded")


async def test_probes_start_live_and_ready(space: Space, nodes: Kubelet) -> None:
    fast = {"periodSeconds": 1, "failureThreshold": 1}
    container = shell(
        "mkdir /state; touch /state/live /state/ready; sleep 0.5; touch /state/started;" + TRAP,
        startupProbe={"exec": {"command": ["test", "-e", "/state/started"]}, "periodSeconds": 1, "failureThreshold": 30},
        livenessProbe={"exec": {"command": ["test", "-e", "/state/live"]}, **fast},
        readinessProbe={"exec": {"command": ["test", "-e", "/state/ready"]}, **fast},
    )
    await space.make("Pod", "p", spec=pod_spec(container, restartPolicy="Always"))
    await space.until("Pod", "p", lambda p: condition(p, "Ready").get("status") == "True")
    root = Path(f"/proc/{nodes.pid(space.namespace, 'p')}/root/state")
    (root / "ready").unlink()
    pod = await space.until("Pod", "p", lambda p: condition(p, "Ready").get("status") == "False")
    assert pod["status"]["containerStatuses"][0]["started"]
    (root / "live").unlink()
    pod = await space.until("Pod", "p", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert "terminated" in pod["status"]["containerStatuses"][0]["lastState"]


async def test_output_is_read_through_the_api(space: Space, nodes: Kubelet) -> None:
    await space.make("Pod", "p", spec=pod_spec(shell("echo one; echo two")))
    await space.until("Pod", "p", lambda p: p["status"].get("phase") == "Succeeded")
    path = space.path("Pod", "p/log")
    assert (await space.api.text(path)) == "one\ntwo\n"
    assert (await space.api.text(path, tailLines="1", follow="1")) == "two\n"


async def test_a_mishap_on_request_of_an_annotation(space: Space) -> None:
    await space.make("Pod", "p", spec=pod_spec(shell(TRAP)))
    await space.until("Pod", "p", lambda p: "running" in main_state(p))
    await space.change("Pod", "p", metadata={"annotations": {"kubelet.test/do": "oom"}})
    pod = await space.until("Pod", "p", ended)
    assert main_state(pod)["terminated"]["reason"] == "OOMKilled"


async def test_the_root_of_a_container_is_its_own(space: Space, nodes: Kubelet) -> None:
    locked = shell("touch /etc/x /tmp/x || echo refused", securityContext={"readOnlyRootFilesystem": True}) | {
        "name": "locked"
    }
    await space.make("Pod", "p", spec=pod_spec(shell("touch /etc/kubelet-test && ls /tmp && hostname"), locked))
    await space.until("Pod", "p", lambda p: p["status"].get("phase") == "Succeeded")
    seen = f"{CHECKOUT.parts[2]}\n" if CHECKOUT.parts[1] == "tmp" else ""  # 项目自己可能就检出在 /tmp 里
    assert nodes.logs(space.namespace, "p", "main") == f"{seen}p\n"
    assert nodes.logs(space.namespace, "p", "locked").endswith("refused\n")
    assert not Path("/etc/kubelet-test").exists()
    assert not Path("/dev/termination-log").exists()


async def test_a_mounted_secret_follows_its_object(space: Space, nodes: Kubelet) -> None:
    await space.make("Secret", "s", data={"a": base64.b64encode(b"old").decode()})
    script = "cat /s/a; until [ $(cat /s/a) = new ]; do sleep 0.1; done; ls /s"
    container = shell(script, volumeMounts=[{"name": "s", "mountPath": "/s"}])
    await space.make("Pod", "p", spec=pod_spec(container, volumes=[{"name": "s", "secret": {"secretName": "s"}}]))
    await space.until("Pod", "p", lambda p: "running" in main_state(p))
    await space.change("Secret", "s", data={"a": base64.b64encode(b"new").decode(), "b": ""})
    await space.until("Pod", "p", lambda p: p["status"].get("phase") == "Succeeded")
    assert nodes.logs(space.namespace, "p").split() == ["olda", "b"]


async def test_a_slow_start_is_a_pod_that_waits(space: Space, nodes: Kubelet) -> None:
    nodes.images.add("slow:v1", nodes.images.pull("shell:test"))
    nodes.delay_start(3600, "slow:v1")
    await space.make("Pod", "p", spec=pod_spec(shell("true", image="slow:v1")))
    pod = await space.until("Pod", "p", lambda p: condition(p, "PodReadyToStartContainers").get("status") == "True")
    assert main_state(pod)["waiting"]["reason"] == "ContainerCreating"
    await space.delete("Pod", "p")
    await space.until_gone("Pod", "p")


async def test_a_container_of_the_product_is_not_root_and_may_bind_everywhere(space: Space, nodes: Kubelet) -> None:
    script = (
        "id -u; pwd; touch x && echo writable; touch /etc/x 2>/dev/null || echo refused; echo $TASKMILL_API_HOST; python -V"
    )
    product = {"name": "main", "image": "taskmill:test", "command": ["sh", "-c", script]}
    rooted = shell("true", securityContext={"runAsNonRoot": True}) | {"name": "rooted"}
    chosen = shell("id -u; id -g", securityContext={"runAsUser": 1234, "runAsGroup": 99}) | {"name": "chosen"}
    await space.make("Pod", "p", spec=pod_spec(product, chosen))
    await space.make("Pod", "r", spec=pod_spec(rooted))
    await space.until("Pod", "p", lambda p: p["status"].get("phase") == "Succeeded")
    lines = nodes.logs(space.namespace, "p", "main").splitlines()
    assert lines[:4] == ["10001", "/tmp", "writable", "refused"]  # noqa: S108 - 容器自己的
    assert lines[4].startswith("127.")
    assert lines[5].startswith("Python 3")
    assert nodes.logs(space.namespace, "p", "chosen").split() == ["1234", "99"]
    await space.until("Pod", "r", lambda p: main_state(p).get("waiting", {}).get("reason") == "CreateContainerConfigError")
