"""A node that is lost, as the controllers see it; and a kubelet that is killed leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.kubelet.api import Api, Cluster
from tests.cluster.kubelet.images import CHECKOUT
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.objects import Space, condition, main_state, pod_spec, shell, template
from tests.cluster.kubelet.support import cannot_run
from tests.cluster.plane import ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.skipif(bool(cannot_run()), reason=cannot_run())]
Connect = Callable[[ControlPlane], Awaitable[Space]]
QUICK = {"kube-controller-manager": {"node-monitor-grace-period": "6s", "node-monitor-period": "1s"}}
SOON = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    for what in ("unreachable", "not-ready")
]
STAY = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
HOLD = """
import sys
from pathlib import Path
from tests.cluster.kubelet.kubelet import Kubelet
with Kubelet(Path(sys.argv[1]), Path(sys.argv[2]), nodes=1) as kubelet:
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """What opens the namespace `default` of a plane, as soon as pods may be made there."""
    async with AsyncExitStack() as stack:

        async def opened(plane: ControlPlane) -> Space:
            space = Space(await stack.enter_async_context(Api(Cluster(plane.kubeconfig))), "default")
            await space.until("ServiceAccount", "default", bool)
            return space

        yield opened


async def test_pods_of_a_lost_node_are_replaced_and_removed_when_it_returns(
    own_plane: Callable[..., ControlPlane], connect: Connect, tmp_path: Path
) -> None:
    plane = own_plane(flags=QUICK)
    space = await connect(plane)
    with Kubelet(plane.kubeconfig, tmp_path) as nodes:
        labels = {"app": "web"}
        pod = template(labels, shell(STAY), tolerations=SOON)
        await space.make("Deployment", "web", spec={"replicas": 1, "selector": {"matchLabels": labels}, "template": pod})
        await space.until("Deployment", "web", lambda d: d["status"].get("readyReplicas") == 1)
        (old,) = await space.list("Pod", "app=web")
        name = old["metadata"]["name"]
        nodes.lose_node(old["spec"]["nodeName"])
        lost = await space.until("Pod", name, lambda p: "deletionTimestamp" in p["metadata"], timeout=120)
        assert "running" in main_state(lost)
        assert condition(lost, "Ready")["status"] == "False"

        async def replaced() -> bool:
            pods = await space.list("Pod", "app=web")
            return any(condition(p, "Ready").get("status") == "True" for p in pods if p["metadata"]["name"] != name)

        await eventually(replaced, timeout=90, poll=0.1)
        assert await space.find("Pod", name) is not None
        nodes.restore_node(old["spec"]["nodeName"])
        await space.until_gone("Pod", name)


async def test_the_kubelet_gets_over_an_api_server_that_restarts(
    own_plane: Callable[..., ControlPlane], connect: Connect, tmp_path: Path
) -> None:
    plane = own_plane()
    space = await connect(plane)
    with Kubelet(plane.kubeconfig, tmp_path, nodes=1) as nodes:
        for name in ("crash", "stay"):
            await space.make("Pod", name, spec=pod_spec(shell(STAY), restartPolicy="Always"))
        for name in ("crash", "stay"):
            await space.until("Pod", name, lambda p: condition(p, "Ready").get("status") == "True")
        plane.api.kill()
        before = nodes.pid("default", "crash")
        nodes.kill("default", "crash")
        await eventually(lambda: nodes.pid("default", "crash") not in (0, before))
        plane.api.start()
        await space.until("Pod", "crash", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        await space.delete("Pod", "stay")
        await space.until_gone("Pod", "stay")


async def test_nothing_outlives_a_kubelet_that_is_killed(
    own_plane: Callable[..., ControlPlane], connect: Connect, tmp_path: Path
) -> None:
    plane = own_plane()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(plane.kubeconfig), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        space = await connect(plane)
        await space.make("Pod", "p", spec=pod_spec(shell("sleep 1000 & wait")))
        await space.until("Pod", "p", lambda p: "running" in main_state(p))
        mine = processes(str(tmp_path))
        assert len(mine) == 1
        inside = [int(child) for child in children(mine[0])]
        inside += [int(child) for pid in inside for child in children(pid)]
        assert len(inside) == 2
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (*mine, *inside)))


def processes(folder: str) -> list[int]:
    """Return the shims that work for `folder`."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_text()
        except OSError:
            continue
        if "shim.py" in line and folder in line:
            found.append(int(process.name))
    return found


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
