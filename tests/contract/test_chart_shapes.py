"""Charts: quotas, taints, policies, private CAs and mirrors reach whatever runs once, and what a release makes."""

from __future__ import annotations

import json

import pytest

from tests.support.charts import MINIMAL, ROOT, find, objects, render, require_helm


@pytest.fixture(scope="module", autouse=True)
def _helm() -> None:
    require_helm()


FREED = """'{"metadata":{"finalizers":null}}'"""
SHAPE = {
    "podLabels": {"team": "shop"}, "podAnnotations": {"note": "b"}, "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "spot", "operator": "Exists"}], "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
    "extraEnv": [{"name": "PGSSLROOTCERT", "value": "/ca/ca.crt"}],
    "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}], "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "resources": {"limits": {"cpu": "1"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("part", "kind", "name"),
    [("migrations", "Job", "-migrate"), ("uninstall", "Job", "-uninstall"), ("test", "Pod", "-test")],
)
def test_whatever_runs_once_can_be_shaped(part: str, kind: str, name: str) -> None:
    """Quotas, tainted nodes, policies on labels and private CAs stop those pods as well as all others."""
    given = {key: value for key, value in SHAPE.items() if part != "test" or not key.startswith("pod")}
    text = render(*MINIMAL, "--set-json", f"{part}={json.dumps(given)}")
    found = next(o for o in objects(text) if o["kind"] == kind and name in o["metadata"]["name"])
    metadata, spec = (found["metadata"], found["spec"]) if kind == "Pod" else (
        found["spec"]["template"]["metadata"], found["spec"]["template"]["spec"],
    )  # fmt: skip
    (container,) = spec["containers"]
    assert {key: spec[key] for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName")} == {
        key: SHAPE[key] for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName")
    }
    assert SHAPE["extraVolumes"][0] in spec["volumes"]  # type: ignore[index]
    assert SHAPE["extraVolumeMounts"][0] in container["volumeMounts"]  # type: ignore[index]
    assert SHAPE["extraEnv"][0] in container["env"]  # type: ignore[index]
    assert container["resources"]["limits"]["cpu"] == "1"
    if part != "test":
        assert metadata["labels"]["team"] == "shop"
        assert metadata["annotations"] == {"note": "b"}


def test_who_waits_for_the_schema_has_the_files_of_its_role() -> None:
    given = {key: SHAPE[key] for key in ("extraEnv", "extraVolumes", "extraVolumeMounts")}
    spec = find(render(*MINIMAL, "--set-json", f"scheduler={json.dumps(given)}"), "Deployment", "-scheduler")["spec"]
    (waits,) = spec["template"]["spec"]["initContainers"]
    assert given["extraVolumeMounts"][0] in waits["volumeMounts"]  # type: ignore[index]
    assert given["extraEnv"][0] in waits["env"]  # type: ignore[index]


@pytest.mark.parametrize("role", ["api", "scheduler", "operator"])
def test_recreate_is_a_strategy_of_its_own(role: str) -> None:
    text = render(*MINIMAL, "--set", f"{role}.strategy.type=Recreate")
    assert find(text, "Deployment", f"-{role}")["spec"]["strategy"] == {"type": "Recreate"}


def test_task_queues_of_the_chart_pull_as_the_chart_does() -> None:
    queue = '{"a": {}, "b": {"imagePullPolicy": "Never", "imagePullSecrets": [{"name": "own"}]}}'
    text = render(
        *MINIMAL,
        "--set",
        "global.imagePullSecrets[0].name=pull,image.pullPolicy=Always",
        "--set-json",
        f"taskQueues={queue}",
    )
    specs = {o["metadata"]["name"]: o["spec"] for o in objects(text) if o["kind"] == "TaskQueue"}
    assert (specs["a"]["imagePullPolicy"], specs["a"]["imagePullSecrets"]) == ("Always", [{"name": "pull"}])
    assert (specs["b"]["imagePullPolicy"], specs["b"]["imagePullSecrets"]) == ("Never", [{"name": "own"}])


@pytest.mark.parametrize("others", ["Refuse", "Drain", "Ignore"])
def test_the_uninstall_knows_what_to_do_with_objects_of_others(others: str) -> None:
    text = render(*MINIMAL, "--set", f"uninstall.others={others}")
    job = next(o for o in objects(text) if o["kind"] == "Job" and "-uninstall" in o["metadata"]["name"])
    assert f"--others={others.lower()}" in job["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("docs/guides/kubernetes.md", ("--timeout 15m", FREED, "--no-hooks", "--take-ownership", "--force-conflicts")),
        ("charts/taskmill/templates/NOTES.txt", ("--timeout 15m", FREED, "--no-hooks")),
        ("charts/taskmill/README.md", ("--timeout 15m",)),
        ("docs/runbooks/TaskmillNamespacesLost.md", (FREED,)),
    ],
)
def test_the_way_out_of_what_hangs_is_written_where_people_look(page: str, words: tuple[str, ...]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [each for each in words if each not in text] == []
