"""The cache: the newest version wins whoever brings it, and a full list mends what a watch missed."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.observe.cache import Cache, slim
from taskmill.kube.observe.facts import GROUPERS


def deployment(
    version: int, *, name: str = "emails-worker", uid: str = "u1", owned: bool = False, **spec: Any
) -> dict[str, Any]:
    fields = {"f:spec": {"f:replicas": {}}} if owned else {"f:metadata": {}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": uid,
            "resourceVersion": str(version),
            "generation": 1,
            "labels": names.labels("emails"),
            "managedFields": [{"manager": "taskmill-scaler", "fieldsV1": fields}],
        },
        "spec": {"replicas": 3, **spec},
    }


@pytest.fixture
def cache() -> Cache:
    return Cache(GROUPERS)


def test_older_versions_never_replace_newer_ones(cache: Cache) -> None:
    assert cache.put(k.DEPLOYMENT, deployment(5))
    assert not cache.put(k.DEPLOYMENT, deployment(5))
    assert not cache.put(k.DEPLOYMENT, deployment(4, replicas=9))
    assert cache.put(k.DEPLOYMENT, deployment(10, replicas=7))  # 按数比，不按字
    found = cache.get(k.DEPLOYMENT, "ns", "emails-worker")
    assert found is not None and found["spec"]["replicas"] == 7


def test_who_owns_the_replicas_is_read_before_managed_fields_are_dropped(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(1))
    assert not cache.scaler_owns("ns", "emails-worker")
    cache.put(k.DEPLOYMENT, deployment(2, owned=True))
    assert cache.scaler_owns("ns", "emails-worker")
    found = cache.get(k.DEPLOYMENT, "ns", "emails-worker")
    assert found is not None and "managedFields" not in found["metadata"]
    cache.remove(k.DEPLOYMENT, deployment(3))
    assert not cache.scaler_owns("ns", "emails-worker")


def test_groups_follow_the_labels(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(1))
    assert len(cache.group(k.DEPLOYMENT, "ns", "emails")) == 1
    moved = deployment(2)
    moved["metadata"]["labels"] = names.labels("other")
    cache.put(k.DEPLOYMENT, moved)
    assert cache.group(k.DEPLOYMENT, "ns", "emails") == ()
    assert len(cache.group(k.DEPLOYMENT, "ns", "other")) == 1
    cache.remove(k.DEPLOYMENT, moved)
    assert cache.group(k.DEPLOYMENT, "ns", "other") == ()


def test_a_late_list_does_not_bring_the_dead_back(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(5))
    assert cache.remove(k.DEPLOYMENT, deployment(8))
    assert cache.replace(k.DEPLOYMENT, "ns", [deployment(5)], "6") == []
    assert cache.get(k.DEPLOYMENT, "ns", "emails-worker") is None
    assert cache.put(k.DEPLOYMENT, deployment(9, uid="u2"))  # 同名的新对象照收


def test_a_late_deletion_does_not_take_the_successor(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(9, uid="u2"))
    assert not cache.remove(k.DEPLOYMENT, deployment(8))
    assert cache.get(k.DEPLOYMENT, "ns", "emails-worker") is not None


def test_a_full_list_drops_what_is_gone_but_not_what_came_after_it(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(5, name="gone"))
    cache.put(k.DEPLOYMENT, deployment(50, name="new"))
    other = deployment(5, name="elsewhere")
    other["metadata"]["namespace"] = "other"
    cache.put(k.DEPLOYMENT, other)
    changed = cache.replace(k.DEPLOYMENT, "ns", [deployment(6, name="kept")], "40")
    assert sorted(each["metadata"]["name"] for each in changed) == ["gone", "kept"]
    assert sorted(cache.names(k.DEPLOYMENT)) == [("ns", "kept"), ("ns", "new"), ("other", "elsewhere")]


def test_the_answer_to_scale_is_seen_at_once(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(5))
    cache.scaled("ns", "emails-worker", {"metadata": {"uid": "u1", "resourceVersion": "7"}, "spec": {"replicas": 1}})
    found = cache.get(k.DEPLOYMENT, "ns", "emails-worker")
    assert found is not None
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (1, 2)
    assert cache.scaler_owns("ns", "emails-worker")
    assert not cache.put(k.DEPLOYMENT, deployment(6))  # 慢到的旧事件


def test_pods_keep_only_what_is_read() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "ns", "managedFields": []},
        "status": {"phase": "Running"},
        "spec": {"nodeName": "n", "containers": [{"env": ["much"]}], "volumes": []},
    }
    kept = slim(k.POD, pod)
    assert kept["spec"] == {"nodeName": "n"}
    assert kept["kind"] == "Pod"
    assert "managedFields" in pod["metadata"]  # 原件不动


def test_the_whole_object_is_taken_in_after_an_answer_of_scale(cache: Cache) -> None:
    """The answer carries the newest version but not the object: what came between must not be lost."""
    cache.put(k.DEPLOYMENT, deployment(8))
    cache.scaled("ns", "emails-worker", {"metadata": {"uid": "u1", "resourceVersion": "10"}, "spec": {"replicas": 5}})
    assert not cache.put(k.DEPLOYMENT, deployment(9))  # 缩放之前的：不回退
    assert cache.put(k.DEPLOYMENT, deployment(10, replicas=5, paused=True, owned=True))
    found = cache.get(k.DEPLOYMENT, "ns", "emails-worker")
    assert found is not None and found["spec"]["paused"]


def test_a_late_list_of_another_namespace_brings_nothing_back(cache: Cache) -> None:
    cache.put(k.DEPLOYMENT, deployment(80))
    cache.remove(k.DEPLOYMENT, deployment(95))
    cache.replace(k.DEPLOYMENT, "elsewhere", [], "100")
    cache.replace(k.DEPLOYMENT, "ns", [deployment(80)], "90")
    assert cache.get(k.DEPLOYMENT, "ns", "emails-worker") is None


def test_what_a_list_lacks_is_forgotten_whole_and_what_it_has_is_kept(cache: Cache) -> None:
    fields = [("spec.replicas", "3")]
    for name in ("stays", "goes"):
        cache.put(k.DEPLOYMENT, deployment(1, name=name, owned=True))
        cache.rewrote(k.DEPLOYMENT, deployment(1, name=name), fields)
    gone = deployment(1, name="goes")
    cache.replace(k.DEPLOYMENT, "ns", [deployment(2, name="stays", owned=True)], "5")
    assert cache.rewritten(k.DEPLOYMENT, deployment(2, name="stays")) == set(fields)
    assert cache.rewritten(k.DEPLOYMENT, gone) is None
    assert not cache.scaler_owns("ns", "goes")
    assert cache.scaler_owns("ns", "stays")
