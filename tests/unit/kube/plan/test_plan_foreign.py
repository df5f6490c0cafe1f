"""Objects that bear our names or labels and are not ours: nothing is done to them."""

from __future__ import annotations

from taskmill.kube.state import Apply, SetFinalizer
from tests.unit.kube.lab import Lab, deleted, running
from tests.unit.kube.objects import condition, decision, of, queue


def test_an_object_of_somebody_else_is_left_alone() -> None:
    lab = running()
    lab.objects["Deployment"]["metadata"]["ownerReferences"][0] |= {"kind": "Website", "uid": "other"}
    lab.facts["decision"] = decision(5)
    made = lab.round()
    assert made.actions == (SetFinalizer(present=False),)  # 没有自己的 Pod，就没有要收尾的
    assert condition(made, "Ready") == ("False", "ObjectNameTaken")
    assert made.status["replicas"] == 0


def test_what_a_predecessor_of_the_same_name_left_is_waited_for() -> None:
    lab = running()
    lab.objects["Deployment"]["metadata"]["ownerReferences"][0]["uid"] = "the one before"
    made = lab.round()
    assert made.actions == (SetFinalizer(present=False),)
    assert (condition(made, "Ready"), condition(made, "Stalled")[0]) == (("False", "WorkersStarting"), "False")
    assert "ObjectNameTaken" not in {event.reason for event in made.events}


def test_orphaning_leaves_alone_what_is_not_ours() -> None:
    lab = deleted(running(1, deletionPolicy="Orphan"))
    lab.objects["ServiceAccount"]["metadata"]["ownerReferences"][0]["uid"] = "other"
    assert {action.manifest["kind"] for action in of(lab.round(), Apply)} == {"PodDisruptionBudget", "Deployment"}


def test_an_idle_queue_that_is_orphaned_stays_without_pods() -> None:
    lab = Lab(queue(deletionPolicy="Orphan"), {"decision": decision(0)})
    lab.settle()
    (left,) = [each.manifest for each in of(deleted(lab).round(), Apply) if each.manifest["kind"] == "Deployment"]
    assert left["spec"]["replicas"] == 0  # 只有我们拥有这个字段：漏掉它，API 服务器会填上 1


def test_an_orphan_that_was_never_adopted_is_not_drained() -> None:
    lab = deleted(running(2))
    del lab.objects["Deployment"]["metadata"]["ownerReferences"]
    assert lab.round().actions == (SetFinalizer(present=False),)
