"""Round after round: what a TaskQueue makes, waits for, and when there is nothing left to do."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.plan.plan import plan
from taskmill.kube.scale.decide import ActiveReason, Limit
from taskmill.kube.state import (
    Apply,
    Create,
    DatabaseFact,
    Delete,
    OrderWorkers,
    PutPolicy,
    Scale,
    ScaleQueue,
    SecretFact,
    SetFinalizer,
)
from taskmill.services.fleet import Order, QueuePolicy
from tests.unit.kube.lab import Lab, deleted, running
from tests.unit.kube.objects import OPTIONS, SECRETS, at, condition, decision, of, queue, state


def test_from_nothing_to_workers_in_order() -> None:
    lab = Lab(facts={"decision": decision(2)})
    first = lab.round()
    assert [action.manifest["kind"] for action in of(first, Create)] == ["Job"]
    assert of(first, Apply) == []
    assert condition(first, "Ready") == ("False", "MigrationPending")
    lab.finish_jobs()
    second = lab.round()
    assert [action.manifest["kind"] for action in of(second, Apply)] == ["ServiceAccount", "Deployment"]
    assert of(second, Apply)[-1].manifest["spec"]["replicas"] == 0
    third = lab.round()
    assert of(third, Scale) == [Scale("emails-worker", 2, "需要更多工作进程")]
    assert [action.manifest["kind"] for action in of(third, Apply)] == ["PodDisruptionBudget"]  # 有了 Pod 才有
    assert isinstance(third.actions[-1], Apply)  # 最后才轮到它：它不成也不耽误别的
    assert third.requeue_s <= c.SCALER_OWNS_S  # 下一轮不再发送 replicas，不等谁来叫醒
    assert third.actions[0] == SetFinalizer(present=True)
    assert condition(third, "Ready") == ("False", "WorkersStarting")
    lab.pods_come()
    fourth = lab.round()
    assert "replicas" not in of(fourth, Apply)[-1].manifest["spec"]  # 已由 scaler 接管，不再发送
    last = lab.settle()
    assert condition(last, "Ready") == ("True", "AsDesired")
    assert {event.reason for event in lab.log} >= {"MigrationStarted", "MigrationCompleted", "ScaledUp", "Activated"}


@pytest.mark.parametrize("pods", [0, 3])
def test_a_settled_queue_does_nothing_and_says_nothing_new(pods: int) -> None:
    lab = running(pods)
    status = copy.deepcopy(lab.manifest["status"])
    lab.facts["decision"] = decision(pods, words="no task for 17 s")
    for lab.age in (5, 60, 3600):
        made = lab.round()
        assert (made.actions, made.events, made.status) == ((), (), status)
    assert status["scaling"]["explanation"].endswith("because")
    assert (status["desiredReplicas"], status["replicas"]) == (pods, pods)
    (words,) = [each["message"] for each in status["conditions"] if each["type"] == "Ready"]
    assert words.startswith("No worker is wanted" if pods == 0 else "Workers, schema and policy")


def test_a_secret_that_is_missing_holds_everything_as_it_is() -> None:
    lab = running()
    lab.facts["secrets"] = {**SECRETS, "db": SecretFact("db", found=False)}
    lab.facts["decision"] = decision(0)
    made = lab.round()
    assert made.actions == ()
    assert condition(made, "Ready") == ("False", "ConnectionSecretMissing")
    assert condition(made, "Stalled") == ("True", "ConnectionSecretMissing")
    assert [event.reason for event in made.events] == ["SecretMissing"]
    assert made.requeue_s == c.KUBE_SECRET_MISSING_S  # 没打标签的，看守不会来说
    lab.facts["secrets"] = {**SECRETS, "db": SecretFact("db", found=True, keys=frozenset({"dsn"}))}
    assert "no key url" in lab.round().status["conditions"][0]["message"]


def test_a_secret_that_leads_nowhere_is_told() -> None:
    made = plan(state(database=DatabaseFact("", "no host in the URL")))
    assert condition(made, "Ready") == ("False", "ConnectionInvalid")
    assert made.requeue_s == c.KUBE_SECRET_MISSING_S
    assert condition(plan(state(database=None)), "Stalled")[0] == "True"


NAMES: dict[str, Any] = {
    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "in-env", "key": "a"}}}],
    "envFrom": [{"secretRef": {"name": "in-from"}}, {"configMapRef": {"name": "maybe", "optional": True}}],
    "volumes": [
        {"name": "tls", "secret": {"secretName": "in-volume"}},
        {"name": "both", "projected": {"sources": [{"secret": {"name": "in-part"}}, {"configMap": {"name": "part"}}]}},
        {"name": "files", "configMap": {"name": "files"}},
    ],
}


@pytest.mark.parametrize(
    "lacking",
    ["Secret in-from", "Secret in-volume", "Secret in-part", "ConfigMap in-env", "ConfigMap part", "ConfigMap files"],
)
def test_whatever_a_spec_names_is_missed_by_name(lacking: str) -> None:
    secrets = {**SECRETS, **{name: SecretFact(name, True) for name in ("in-from", "in-volume", "in-part")}}
    maps = {name: SecretFact(name, True, frozenset({"a"})) for name in ("in-env", "part", "files")}
    assert condition(plan(state(queue(pod=NAMES), secrets=secrets, config_maps=maps)), "Stalled")[0] != "True"
    kind, name = lacking.split()
    (secrets if kind == "Secret" else maps)[name] = SecretFact(name, False)
    made = plan(state(queue(pod=NAMES), secrets=secrets, config_maps=maps))
    assert condition(made, "Ready") == ("False", "ConnectionSecretMissing")
    assert f"{lacking} is missing" in next(each["message"] for each in made.status["conditions"] if each["type"] == "Ready")


def test_without_the_right_to_read_config_maps_none_is_missed() -> None:
    secrets = {**SECRETS, **{name: SecretFact(name, True) for name in ("in-from", "in-volume", "in-part")}}
    made = plan(state(queue(pod=NAMES), secrets=secrets, sees_config_maps=False))
    assert condition(made, "Ready")[1] != "ConnectionSecretMissing"


@pytest.mark.parametrize("name", ["in-volume", "files"])
def test_new_content_of_a_volume_rolls_the_workers(name: str) -> None:
    lab = running(pod=NAMES)
    facts = {each: SecretFact(each, True, frozenset({"a"}), "old") for each in ("in-from", "in-volume", "in-part")}
    maps = {each: SecretFact(each, True, frozenset({"a"}), "old") for each in ("in-env", "part", "files")}
    lab.facts |= {"secrets": {**SECRETS, **facts}, "config_maps": maps}
    lab.settle()
    assert of(lab.round(), Apply) == []
    which = facts if name in facts else maps
    which[name] = SecretFact(name, True, frozenset({"a"}), "new")
    lab.facts |= {"secrets": {**SECRETS, **facts}, "config_maps": {**maps}}
    assert [each.manifest["kind"] for each in of(lab.round(), Apply)] == ["Deployment"]


def test_config_maps_that_cannot_be_read_for_a_while_roll_nothing() -> None:
    lab = running(pod=NAMES)
    facts = {each: SecretFact(each, True, frozenset({"a"}), "old") for each in ("in-from", "in-volume", "in-part")}
    maps = {each: SecretFact(each, True, frozenset({"a"}), "old") for each in ("in-env", "part", "files")}
    lab.facts |= {"secrets": {**SECRETS, **facts}, "config_maps": maps}
    lab.settle()
    lab.facts |= {"config_maps": {}, "sees_config_maps": False}
    assert of(lab.round(), Apply) == []


@pytest.mark.parametrize(("restart", "rolls"), [(True, True), (False, False)])
def test_a_new_secret_rolls_the_workers_if_wanted(restart: bool, rolls: bool) -> None:
    lab = running(update={"restartOnSecretChange": restart})
    lab.facts["secrets"] = {**SECRETS, "broker": SecretFact("broker", True, frozenset({"url"}), "new")}
    made = lab.round()
    assert bool(of(made, Apply)) is rolls
    if rolls:
        assert condition(made, "Ready") == ("False", "RollingOut")
        assert [event.reason for event in made.events] == ["RolloutStarted"]
        assert made.rolling


def test_whatever_changes_the_template_waits_for_its_turn() -> None:
    """Also that a newer schema is allowed: it is in the bundle, which the pods carry, and in no hash of the configuration."""
    lab = running()
    lab.manifest["spec"]["migration"] = {"policy": "Skip", "allowSchemaAhead": True}
    lab.manifest["metadata"]["generation"] = 2
    lab.facts["options"] = replace(OPTIONS, may_start_rollout=False)
    made = lab.round()
    assert condition(made, "Ready") == ("False", "RolloutWaiting")
    assert [each for each in of(made, Apply) if each.manifest["kind"] == "Deployment"] == []
    del lab.facts["options"]
    assert lab.round().rolling


def test_a_rollout_waits_for_its_turn() -> None:
    lab = running()
    lab.manifest["spec"]["concurrency"] = 3
    lab.facts["options"] = replace(OPTIONS, may_start_rollout=False)
    made = lab.round()
    assert of(made, Apply) == []
    assert condition(made, "Ready") == ("False", "RolloutWaiting")


def test_an_upgraded_operator_changes_no_workload() -> None:
    lab = running()
    lab.facts["options"] = replace(OPTIONS, default_image="taskmill:2")
    assert lab.round().actions == ()
    lab.manifest["metadata"]["annotations"] = {names.ADOPT_TEMPLATE: "latest"}
    made = lab.round()
    assert len(of(made, Create)) == 1  # 新镜像先要迁移


def test_while_a_new_image_waits_for_its_migration_the_old_workers_are_scaled() -> None:
    lab = running()
    lab.manifest["spec"]["image"] = "taskmill:bad"
    lab.facts["decision"] = decision(4)
    made = lab.round()
    assert (len(of(made, Create)), of(made, Apply)) == (1, [])
    assert of(made, Scale)[0].replicas == 4


def test_foreign_edits_are_taken_back_once() -> None:
    lab = running()
    lab.objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    made = lab.round()
    assert [event.reason for event in made.events] == ["DriftCorrected"]
    assert "image" in made.events[0].message
    assert lab.round().actions == ()


def test_workers_that_keep_the_image_of_an_older_operator_say_so() -> None:
    lab = running()
    lab.facts["options"] = replace(OPTIONS, default_image="taskmill:9")
    made = lab.round()
    assert condition(made, "Ready")[1] == "AsDesired"
    message = next(each["message"] for each in made.status["conditions"] if each["type"] == "Ready")
    assert "taskmill:9" in message
    assert "taskmill.dev/adopt-template=latest" in message


def test_in_an_edit_war_the_next_blow_waits() -> None:
    lab = running()
    lab.objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    lab.facts["options"] = replace(OPTIONS, correct_in_s=7.0)
    made = lab.round()
    assert (made.actions, made.events, made.requeue_s) == ((), (), 7.0)


def ready_message(made: Any) -> str:
    return next(str(each["message"]) for each in made.status["conditions"] if each["type"] == "Ready")


def test_the_replicas_of_an_idle_queue_are_taken_over_with_the_first_worker() -> None:
    lab = Lab(facts={"decision": decision(0)})
    lab.settle()
    assert (lab.replicas, lab.owned) == (0, False)
    made = lab.round()
    assert made.actions == ()
    assert ready_message(made).startswith("No worker is wanted")
    lab.facts["decision"] = decision(1)
    lab.settle()
    assert not ready_message(lab.round()).startswith("No worker is wanted")
    assert (lab.replicas, lab.owned) == (1, True)
    assert "replicas" not in lab.objects["Deployment"]["spec"]


def test_a_database_that_does_not_answer_is_told_on_time() -> None:
    lab = running(1)
    lab.facts["database"] = DatabaseFact("0123456789abcdef", "refused", 5.0)
    made = lab.round()
    assert condition(made, "Ready") == ("True", "AsDesired")
    assert made.requeue_s == c.UNREACHABLE_S - 5
    lab.facts["database"] = DatabaseFact("0123456789abcdef", "refused", c.UNREACHABLE_S)
    assert condition(lab.round(), "Ready") == ("False", "DatabaseUnreachable")


def test_switched_off_children_are_removed() -> None:
    lab = running()
    lab.manifest["spec"] |= {"disruption": {"enabled": False}, "pod": {"serviceAccountName": "mine"}}
    assert {action.manifest["kind"] for action in of(lab.round(), Delete)} == {"PodDisruptionBudget", "ServiceAccount"}


def test_the_younger_of_two_with_one_queue_name_yields() -> None:
    made = plan(state(same_queue=("app/older",)))
    assert made.actions == ()
    assert condition(made, "Stalled") == ("True", "QueueNameTaken")


def test_paused_by_annotation_writes_conditions_only() -> None:
    lab = running()
    before = copy.deepcopy(lab.manifest["status"])
    lab.manifest["metadata"]["annotations"] = {names.PAUSED: "true"}
    lab.manifest["spec"]["concurrency"] = 99
    lab.facts["decision"] = decision(9)
    made = lab.round()
    assert made.actions == ()
    assert condition(made, "Ready") == ("Unknown", "Paused")
    assert {key: value for key, value in made.status.items() if key != "conditions"} == {
        key: value for key, value in before.items() if key != "conditions"
    }
    del lab.manifest["metadata"]["annotations"]
    assert "Resumed" in [event.reason for event in lab.round().events]


def test_a_wrong_spec_touches_nothing_and_can_be_deleted() -> None:
    made = plan(state(queue(concurrency=0)))
    assert (made.actions, condition(made, "Ready")) == ((), ("False", "InvalidSpec"))
    gone = queue(concurrency=0, metadata={"deletionTimestamp": at(), "finalizers": [names.FINALIZER]})
    assert plan(state(gone)).actions == (SetFinalizer(present=False),)


# ── 规模 ──


def test_scaling_in_drains_first() -> None:
    lab = running(3)
    lab.facts["decision"] = decision(2)
    lab.workers["p0"] = replace(lab.workers["p0"], running=1)
    made = lab.round()
    assert of(made, OrderWorkers) == [OrderWorkers(("uid-p1",), Order.DRAIN)]
    assert of(made, Scale) == []
    assert made.requeue_s <= 1
    lab.round()
    lab.obey()
    lab.round()
    down = lab.round()
    assert of(down, Scale)[0].replicas == 2
    assert {"DrainStarted", "ScaledDown"} <= {event.reason for event in lab.log}


def test_unknown_data_never_lowers() -> None:
    lab = running(3)
    lab.facts["workers"], lab.facts["decision"] = None, decision(0)
    assert lab.round().actions == ()
    del lab.facts["workers"]
    lab.facts["decision"] = decision(0, reason=ActiveReason.METRICS_STALE)
    made = lab.round()
    assert made.actions == ()
    assert condition(made, "ScalingActive") == ("False", "MetricsStale")


@pytest.mark.parametrize("stop", ["Hold", "HoldAndDrain"])
def test_stop_policies(stop: str) -> None:
    lab = running(2)
    lab.manifest["spec"]["stopPolicy"] = stop
    made = lab.round()
    assert of(made, PutPolicy)[0].change.values() == {"paused": True}
    assert made.status["queue"]["paused"]  # 写成之后就是这样，不等下一轮
    assert bool(of(made, OrderWorkers)) is (stop == "HoldAndDrain")
    assert condition(made, "Ready") == ("False", "Suspended")
    lab.obey()
    lab.round()
    assert lab.replicas == (0 if stop == "HoldAndDrain" else 2)
    lab.manifest["spec"]["stopPolicy"] = "None"
    assert of(lab.round(), PutPolicy)[0].change.values() == {"paused": False}


def test_a_pause_made_by_a_person_is_left_alone() -> None:
    lab = running(1, retentionSeconds=60)
    assert lab.policy.settings["retention_s"] == 60
    lab.policy = QueuePolicy(paused=True, paused_by="ops", settings={"retention_s": 60})
    made = lab.round()
    assert of(made, PutPolicy) == []
    assert made.status["queue"] == {"paused": True, "retentionSeconds": 60}
    ready = next(each for each in made.status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Suspended")
    assert ready["message"] == "ops has paused the queue in the database; taskmill queue resume emails goes on"
    lab.policy = QueuePolicy(settings={"retention_s": 60})
    assert condition(lab.round(), "Ready") == ("True", "AsDesired")


def test_a_hold_belongs_to_the_task_queue_whichever_operator_wrote_it() -> None:
    lab = running(1)
    lab.manifest["spec"]["stopPolicy"] = "Hold"
    lab.round()
    assert lab.policy.paused_by == "TaskQueue app/emails"
    assert of(lab.round(), PutPolicy) == []
    lab.policy = QueuePolicy(paused=True, paused_by=OPTIONS.instance)  # 从前的版本记下的
    (put,) = of(lab.round(), PutPolicy)
    assert (put.by, put.former) == ("TaskQueue app/emails", OPTIONS.instance)
    lab.facts["options"] = replace(OPTIONS, instance="renamed")
    lab.manifest["spec"]["stopPolicy"] = "None"
    made = lab.round()
    assert of(made, PutPolicy)[0].change.values() == {"paused": False}
    assert not made.status["queue"]["paused"]
    assert condition(made, "Ready") == ("True", "AsDesired")  # 是自己停的，不说是别人


def test_dry_run_only_tells() -> None:
    lab = running(2)
    lab.manifest["spec"]["scaling"] = {"dryRun": True}
    lab.facts["decision"] = decision(5, reason=ActiveReason.DRY_RUN, limit=Limit.MAX_REPLICAS)
    made = lab.round()
    assert made.actions == ()
    assert made.status["scaling"]["recommended"] == 5
    assert condition(made, "ScalingLimited") == ("True", "MaxReplicas")


def test_manual_and_external() -> None:
    lab = running(2)
    lab.manifest["spec"] |= {"scaling": {"mode": "Manual"}, "replicas": 4}
    made = lab.round()
    assert (of(made, Scale)[0].replicas, condition(made, "ScalingActive")) == (4, ("False", "Manual"))
    lab.settle()
    lab.manifest["spec"]["scaling"] = {"mode": "External"}
    del lab.manifest["spec"]["replicas"]
    made = lab.round()
    assert of(made, ScaleQueue)[0].replicas == 4
    assert lab.round().actions == ()
    assert made.status["selector"] == "app.kubernetes.io/component=worker,taskmill.dev/queue=emails"


def test_external_starts_from_one_because_an_autoscaler_takes_zero_for_switched_off() -> None:
    lab = running(0)
    lab.manifest["spec"]["scaling"] = {"mode": "External"}
    assert of(lab.round(), ScaleQueue)[0].replicas == 1


def test_no_decision_yet_holds() -> None:
    lab = running(2)
    lab.facts["decision"] = None
    made = lab.round()
    assert (made.actions, condition(made, "Ready")[0]) == ((), "True")
    fresh = Lab(facts={"decision": None})
    fresh.round()
    fresh.finish_jobs()
    fresh.round()
    assert condition(fresh.round(), "Ready") == ("False", "WorkersStarting")


def test_the_database_is_away() -> None:
    lab = running(2)
    lab.facts |= {"database": DatabaseFact("d1d2d3d4d5d6d7d8", "connection refused", 45.0), "workers": None, "load": None}
    made = lab.round()
    assert made.actions == ()
    assert condition(made, "Ready") == ("False", "DatabaseUnreachable")
    assert made.status["work"]["source"] == "Stale"
    lab.facts["database"] = DatabaseFact("d1d2d3d4d5d6d7d8", "connection refused", 3.0)
    assert condition(lab.round(), "Ready")[0] == "True"
    assert plan(state(database=DatabaseFact("d", "refused"))).actions == ()


# ── 结束 ──


def test_deletion_waits_for_running_tasks() -> None:
    lab = deleted(running(2))
    lab.workers["p0"] = replace(lab.workers["p0"], running=3)
    made = lab.round()
    assert of(made, OrderWorkers) == [OrderWorkers(("uid-p0", "uid-p1"), Order.DRAIN)]
    assert of(made, SetFinalizer) == []
    assert condition(made, "Ready") == ("False", "Draining")
    lab.obey()
    assert of(lab.round(), SetFinalizer) == [SetFinalizer(present=False)]
    assert lab.round().actions == ()


@pytest.mark.parametrize(
    ("on_timeout", "age", "gone"), [("Requeue", 599, False), ("Requeue", 600, True), ("KeepWaiting", 9999, False)]
)
def test_deletion_has_a_time_limit(on_timeout: str, age: float, gone: bool) -> None:
    lab = deleted(running(1, drain={"onTimeout": on_timeout}))
    lab.facts["workers"], lab.age = None, age
    assert bool(of(lab.round(), SetFinalizer)) is gone


@pytest.mark.parametrize("facts", [{"namespace_terminating": True}, {"deployment": None}])
def test_deletion_does_not_wait_where_waiting_is_pointless(facts: dict[str, Any]) -> None:
    lab = deleted(running(1))
    lab.facts |= facts
    assert of(lab.round(), SetFinalizer) == [SetFinalizer(present=False)]


def test_forced_and_plain_deletion() -> None:
    lab = deleted(running(1), annotations={names.FORCE_DELETE: "true"})
    assert lab.round().actions == (SetFinalizer(present=False),)
    plain = running(1, deletionPolicy="Delete")
    assert "finalizers" not in plain.manifest["metadata"] or plain.manifest["metadata"]["finalizers"] == []


def test_orphaned_children_lose_their_owner_and_nothing_else() -> None:
    lab = running(2, deletionPolicy="Orphan")
    before = copy.deepcopy(lab.objects["Deployment"])
    made = deleted(lab).round()
    applied = {action.manifest["kind"]: action.manifest for action in of(made, Apply)}
    assert applied.keys() == {"ServiceAccount", "PodDisruptionBudget", "Deployment"}
    left = applied["Deployment"]
    assert "ownerReferences" not in left["metadata"]
    assert left["spec"]["template"] == before["spec"]["template"]
    assert "replicas" not in left["spec"]
    # 同名的新对象认领它，不动模板
    again = Lab(queue(deletionPolicy="Orphan", metadata={"uid": "uid-new"}), {"decision": decision(2)}, objects=lab.objects)
    again.jobs, again.job_pods, again.replicas, again.owned = lab.jobs, lab.job_pods, 2, True
    again.pods, again.workers = lab.pods, lab.workers
    adopted = again.settle()
    assert condition(adopted, "Ready") == ("True", "AsDesired")
    assert again.objects["Deployment"]["spec"]["template"] == before["spec"]["template"]


def test_the_finalizer_goes_with_the_last_pod() -> None:
    lab = running(1)
    assert lab.manifest["metadata"]["finalizers"] == [names.FINALIZER]
    lab.facts["decision"] = decision(0)
    lab.round()
    lab.obey()
    lab.settle()
    assert (lab.replicas, lab.manifest["metadata"]["finalizers"]) == (0, [])
