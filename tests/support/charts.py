"""The charts rendered by Helm, and what must hold of every object that comes out."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import binaries
from tests.support.requires import missing

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "taskmill"
CRDS_CHART = ROOT / "charts" / "taskmill-crds"
SETS = {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}
RELEASE, NAMESPACE = "demo", "taskmill"
MINIMAL: Sequence[str] = ("--set", "database.existingSecret=db,broker.existingSecret=br")
Object = dict[str, Any]
# 这些字段一出现就不再是 restricted
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
VOLUMES_ALLOWED = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


class RefusedError(Exception):
    """Helm refused to render."""


def require_helm() -> None:
    """Skip the test without Helm, or fail where it must be there."""
    try:
        binaries.client("helm")
    except LookupError:
        missing("helm", target="controlplane")


def helm(*arguments: str) -> str:
    """Run Helm without a cluster; RefusedError with what it says on failure."""
    with tempfile.TemporaryDirectory() as home:
        places = {f"HELM_{name}_HOME": f"{home}/{name}" for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [binaries.client("helm"), *arguments], capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": home, **places},
        )  # fmt: skip
    if done.returncode != 0:
        raise RefusedError(" ".join((done.stderr + done.stdout).split()))
    return done.stdout


def render(*options: str, chart: Path = CHART) -> str:
    """Return what `helm template` makes of the chart; RefusedError."""
    return helm("template", RELEASE, str(chart), "--namespace", NAMESPACE, *options)


@lru_cache
def rendered(name: str) -> str:
    """Return the render of one of the sets in `ci/`."""
    return render("-f", str(SETS[name]))


def objects(text: str) -> list[Object]:
    """Return the objects of a render."""
    return [document for document in yaml.safe_load_all(text) if document]


def find(text: str, kind: str, name: str = "") -> Object:
    """Return the one object of this kind whose name ends with `name`."""
    found = [each for each in objects(text) if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def pod_specs(text: str) -> Iterator[tuple[str, Object]]:
    """Yield every pod spec with the name of its object."""
    for each in objects(text):
        name = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield name, each["spec"]
        elif each["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet"}:
            yield name, each["spec"]["template"]["spec"]


def unrestricted(pod: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps a pod from the Pod Security level `restricted`, and from a read-only root file system."""
    yield from (field for field in HOST_FIELDS if pod.get(field))
    shared = pod.get("securityContext") or {}
    for volume in pod.get("volumes") or []:
        yield from (f"volume {kind}" for kind in volume.keys() - {"name"} if kind not in VOLUMES_ALLOWED)
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        context = container.get("securityContext") or {}
        seccomp = context.get("seccompProfile") or shared.get("seccompProfile") or {}
        wrong = {
            "privileged": context.get("privileged", False),
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is not False,
            "capabilities": (context.get("capabilities") or {}).get("drop") != ["ALL"] or "add" in context["capabilities"],
            "runAsNonRoot": not context.get("runAsNonRoot", shared.get("runAsNonRoot")),
            "runAsUser": context.get("runAsUser", shared.get("runAsUser")) == 0,
            "seccompProfile": seccomp.get("type") not in {"RuntimeDefault", "Localhost"},
            "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is not True,
            "hostPort": any("hostPort" in port for port in container.get("ports") or []),
        }
        yield from (f"{container['name']}: {field}" for field, is_wrong in wrong.items() if is_wrong)


GOLDEN = ROOT / "tests" / "contract" / "golden" / "charts"

if __name__ == "__main__":  # python -m tests.support.charts：重写期望的渲染结果
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for set_name in SETS:
        (GOLDEN / f"{set_name}.yaml").write_text(rendered(set_name), encoding="utf-8")
