"""The migration gate, case by case: one Job at a time, and a rollout only when it is done."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as replace_struct

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.model import TaskQueue, parse_queue
from taskmill.kube.crd.status import MigrationStatus
from taskmill.kube.plan import jobs as facts
from taskmill.kube.plan import migration
from taskmill.kube.plan.jobs import JobState
from taskmill.kube.plan.migration import Gate, Target
from taskmill.kube.render.migration_job import JobOrder, marks, migration_job
from taskmill.kube.state import Create, Delete, Manifest
from tests.unit.kube.lab import RESULT, Lab
from tests.unit.kube.objects import IDENTITY, NOW, at, decision, job_of, job_pod, of, queue, worker

BUNDLE = "abcdefabcd"


def target(name: str = "emails", *, bundle: str = BUNDLE, siblings: tuple[TaskQueue, ...] = (), **changes: Any) -> Target:
    parsed = parse_queue(queue(name, **changes))
    return Target(parsed, siblings, "taskmill:1", IDENTITY, bundle)


def job(goal: Target | None = None, *, phase: Any = "expand", attempt: int = 0, **status: Any) -> Manifest:
    goal = goal or target()
    order = JobOrder(goal.queue, goal.siblings, goal.image, IDENTITY, goal.bundle, phase, attempt, marks(goal.queue))
    return job_of(migration_job(order), **status)


def gate(
    goal: Target,
    *made: Manifest,
    pods: tuple[Manifest, ...] = (),
    seconds: float = 0.0,
    refused: dict[str, str] | None = None,
) -> Gate:
    return migration.expand(goal, facts.read(made, pods, refused), NOW + timedelta(seconds=seconds))


def created(found: Gate) -> list[str]:
    return [action.manifest["metadata"]["name"] for action in found.actions if isinstance(action, Create)]


def test_the_first_job() -> None:
    found = gate(target())
    assert (found.open, created(found)) == (False, ["tq-migrate-d1d2d3d4-abcdefabcd"])
    assert found.verdict.reason == "JobRunning"


def test_skip_opens_at_once() -> None:
    found = gate(target(migration={"policy": "Skip"}))
    assert (found.open, found.verdict.status, found.verdict.reason, found.actions) == (True, True, "Skipped", ())


def test_running_then_done() -> None:
    running = job()
    assert (gate(target(), running).open, gate(target(), running).actions) == (False, ())
    done = job(done=True)
    found = gate(target(), done, pods=(job_pod(done, code=0, message="some log\n" + RESULT),))
    assert (found.open, found.verdict.reason) == (True, "UpToDate")
    assert found.fields.database_revision == "0002"
    assert found.fields.completed_at == at(-60)


def test_the_old_run_finishes_before_the_new_starts() -> None:
    old = job(target(bundle="0000000000"))
    found = gate(target(), old)
    assert (created(found), found.verdict.reason) == ([], "JobRunning")
    ending = copy.deepcopy(old)
    ending["status"]["conditions"] = [{"type": "FailureTarget", "status": "True"}]
    assert created(gate(target(), ending)) == []
    assert created(gate(target(), job(target(bundle="0000000000"), done=True))) != []
    assert created(gate(target(), job(target(bundle="0000000000", migration={"policy": "Manual"})))) != []


@pytest.mark.parametrize(
    ("code", "reason", "retries"),
    [(1, "JobFailed", True), (42, "JobFailed", False), (43, "SchemaAhead", False), (44, "WaitingForLock", True)],
)
def test_failures_by_class(code: int, reason: str, retries: bool) -> None:
    failed = job(failed="BackoffLimitExceeded")
    pods = (job_pod(failed, code=code, message="log\nrelation is missing"),)
    soon, late = gate(target(), failed, pods=pods, seconds=-30), gate(target(), failed, pods=pods, seconds=3600)
    assert (soon.open, soon.verdict.reason, created(soon)) == (False, reason, [])
    assert "relation is missing" in soon.verdict.message
    assert (soon.requeue_s == 30) is retries
    assert created(late) == (["tq-migrate-d1d2d3d4-abcdefabcd-r1"] if retries else [])


@pytest.mark.parametrize(("attempt", "wait_s"), [(0, 60), (1, 120), (4, 960), (5, 1800), (50, 1800)])
def test_back_off_doubles_up_to_half_an_hour(attempt: int, wait_s: float) -> None:
    failed = job(attempt=attempt, failed="DeadlineExceeded", ended=0)
    assert gate(target(), failed).requeue_s == wait_s
    assert gate(target(), failed).verdict.message.endswith("DeadlineExceeded job failed")


def test_a_nonce_or_new_settings_retry_at_once_and_only_once() -> None:
    failed = job(failed="PodFailurePolicy")
    pods = (job_pod(failed, code=42),)
    asked = target()
    asked = replace(asked, queue=replace(asked.queue, annotations={names.RETRY_MIGRATION: "again"}))
    again = gate(asked, failed, pods=pods)
    assert created(again) == ["tq-migrate-d1d2d3d4-abcdefabcd-r1"]
    second = job_of(again.actions[0].manifest, failed="PodFailurePolicy")  # type: ignore[union-attr]
    pods += (job_pod(second, code=42),)
    assert created(gate(asked, failed, second, pods=pods)) == []
    assert created(gate(target(), failed, second, pods=pods)) == []  # 没写 nonce 的兄弟不会又来一次
    slower = target(migration={"activeDeadlineSeconds": 3600})
    assert created(gate(slower, failed, second, pods=pods)) == ["tq-migrate-d1d2d3d4-abcdefabcd-r2"]


def test_a_changed_pod_is_a_reason_to_try_again_only_for_the_queue_that_asked() -> None:
    failed = job(failed="PodFailurePolicy")
    pods = (job_pod(failed, code=42),)
    fixed = {"pod": {"nodeSelector": {"disk": "big"}}}
    again = gate(target(**fixed), failed, pods=pods)
    assert created(again) == ["tq-migrate-d1d2d3d4-abcdefabcd-r1"]
    assert created(gate(target("others", **fixed), failed, pods=pods)) == []  # 它的 Pod 本来就是这样
    second = job_of(again.actions[0].manifest, failed="PodFailurePolicy")  # type: ignore[union-attr]
    pods += (job_pod(second, code=42),)
    assert created(gate(target(**fixed), failed, second, pods=pods)) == []
    assert created(gate(target(), failed, second, pods=pods)) == ["tq-migrate-d1d2d3d4-abcdefabcd-r2"]  # 又改回去


def test_manual_waits_for_a_person_and_auto_starts_anew() -> None:
    by_hand = target(migration={"policy": "Manual"})
    made = gate(by_hand).actions[0]
    assert isinstance(made, Create)
    assert made.manifest["spec"]["suspend"] is True
    suspended = job_of(made.manifest)
    waiting = gate(by_hand, suspended)
    assert (waiting.verdict.reason, waiting.stalled, waiting.actions) == ("Manual", True, ())
    assert "kubectl patch job" in waiting.verdict.message
    assert isinstance(gate(target(), suspended).actions[0], Delete)
    auto = job(suspend=True)
    auto["spec"]["suspend"] = True  # 别人挂起的，不去争
    assert gate(target(), auto).verdict.reason == "Manual"


def test_waiting_for_the_lock_shows_while_it_runs() -> None:
    running = job()
    found = gate(target(), running, pods=(job_pod(running, code=44, message="locked by 123"),))
    assert (found.verdict.reason, found.open) == ("WaitingForLock", False)


def test_ahead_but_readable_opens() -> None:
    done = job(done=True)
    found = gate(target(), done, pods=(job_pod(done, code=0, message='{"to": "0009", "ahead": true}'),))
    assert (found.open, "newer" in found.verdict.message) == (True, True)
    bad = gate(target(), done, pods=(job_pod(done, code=0, message="{not json"),))
    assert bad.open


def test_a_job_that_was_cleared_away_is_remembered_by_the_status() -> None:
    status = {"migration": {"bundle": BUNDLE, "job": "tq-migrate-d1d2d3d4-abcdefabcd", "completedAt": at()}}
    assert gate(target(status=status)).open
    assert not gate(replace(target(status=status), database="other-database")).open
    assert not gate(target(status={"migration": {"bundle": "older", "completedAt": at(), "job": "x"}})).open


def test_a_job_being_deleted_is_waited_for() -> None:
    gone = job()
    gone["metadata"]["deletionTimestamp"] = at()
    assert facts.read([gone], ())[0].state is JobState.ENDING
    assert created(gate(target(), gone)) == []


def test_back_to_an_older_image_the_database_is_asked_again() -> None:
    older, newer = job(done=True, ended=-500), job(target(bundle="newer00000"), done=True, ended=-50)
    rolling_back = target(status={"migration": {"bundle": "newer00000"}})
    found = gate(rolling_back, older, newer)
    assert (found.open, created(found)) == (False, ["tq-migrate-d1d2d3d4-abcdefabcd-r1"])
    busy = job(target(bundle="third00000"))
    assert (gate(rolling_back, older, newer, busy).open, created(gate(rolling_back, older, newer, busy))) == (False, [])
    again = job(attempt=1, done=True, ended=-10)
    assert gate(rolling_back, older, newer, again).open
    # 共用数据库而镜像不同的队列各自安好，不会互相催着重跑
    assert gate(target(status={"migration": {"bundle": BUNDLE}}), older, newer).open
    assert gate(target(), older, newer).open


def test_events_are_told_by_the_queue_that_asked_for_the_job() -> None:
    def told(status: dict[str, Any], *made: Manifest) -> list[str]:
        return [event.reason for event in gate(target(status=status), *made).events]

    running, done = job(), job(done=True)
    waiting = {"conditions": [{"type": "Migrated", "reason": "JobRunning"}]}
    seen = {**waiting, "migration": msgspec.to_builtins(gate(target(), running).fields)}
    assert told({}) == []  # 只打算要，还没有
    assert told(waiting, running) == ["MigrationStarted"]
    assert told(seen, running) == []
    assert told(seen, done) == ["MigrationCompleted"]
    assert told(waiting, done) == ["MigrationStarted", "MigrationCompleted"]  # 快得没看见它在跑
    assert told({}, done) == []
    done["metadata"]["annotations"]["taskmill.dev/migration-asked-by"] = "another"
    assert told(waiting, done) == []
    del done["metadata"]["annotations"]["taskmill.dev/migration-asked-by"]  # 由较早的控制器所建
    assert told(seen, done) == ["MigrationCompleted"]


# ── 收缩阶段与清理 ──


def contract(goal: Target, *made: Manifest, pods: tuple[Manifest, ...] = ()) -> Gate:
    found = facts.read(made, pods)
    return migration.contract(goal, found, migration.expand(goal, found, NOW), NOW, may_start=True)


def test_contract_follows_and_is_done_once() -> None:
    done = job(done=True)
    first = contract(target(), done)
    assert created(first) == ["tq-migrate-d1d2d3d4-abcdefabcd-contract"]
    running = job(phase="contract")
    assert (contract(target(), done, running).actions, contract(target(), done, running).open) == ((), True)
    over = job(phase="contract", done=True)
    assert (contract(target(), done, over).actions, contract(target(), done, over).fields.job) == (
        (),
        done["metadata"]["name"],
    )
    assert contract(target(migration={"policy": "Skip"})).actions == ()
    assert contract(target()).open is False


def test_a_failed_contract_keeps_the_gate_open() -> None:
    failed = job(phase="contract", failed="PodFailurePolicy")
    found = contract(target(), job(done=True), failed, pods=(job_pod(failed, code=42, message="cannot drop"),))
    assert (found.open, found.verdict.status, found.verdict.reason) == (True, True, "ContractFailed")


@pytest.mark.parametrize(("bundle", "made"), [("older", 0), (None, 1)])
def test_contract_waits_for_the_last_worker_of_an_older_bundle(bundle: str | None, made: int) -> None:
    lab = Lab(facts={"decision": decision(1)})
    for _ in range(4):
        lab.round()
        lab.finish_jobs()
    lab.pods_come()
    lab.jobs = {name: each for name, each in lab.jobs.items() if "contract" not in name}
    lab.manifest["status"].pop("migration", None)
    if bundle is not None:
        lab.workers["p9"] = worker("p9", bundle=bundle)
    for _ in range(2):
        lab.round()
    assert len([name for name in lab.jobs if name.endswith("-contract")]) == made


def test_old_jobs_are_cleared_but_never_those_in_use() -> None:
    old = [job(target(bundle=f"old{number}000000"), done=True, ended=-1000 + number) for number in range(5)]
    used = job(target(bundle="sibling000"), done=True, ended=-9999)
    sibling = parse_queue(queue("other", status={"revision": {"current": "sibling000"}}))
    superseded = job(target(bundle="manual0000", migration={"policy": "Manual"}))
    goal = target(siblings=(sibling,))
    found = facts.read([*old, used, superseded, job(done=True)], ())
    gone = {action.manifest["metadata"]["labels"][names.LABEL_BUNDLE] for action in migration.prune(goal, found)}
    assert gone == {"old0000000", "old1000000", "old2000000", "manual0000"}
    younger = replace(goal, queue=replace(goal.queue, name="zz"))
    assert migration.prune(younger, found) == ()


def test_many_queues_of_one_database_share_one_job() -> None:
    names_made = {created(gate(target(f"q{number}")))[0] for number in range(50)}
    assert len(names_made) == 1
    sibling = parse_queue(queue("other"))
    owners = gate(target(siblings=(sibling,))).actions[0].manifest["metadata"]["ownerReferences"]  # type: ignore[union-attr]
    assert [owner["name"] for owner in owners] == ["emails", "other"]
    assert all("controller" not in owner for owner in owners)


def test_no_job_is_started_while_the_database_is_away() -> None:
    lab = Lab(facts={"decision": decision(1)})
    lab.settle()
    lab.manifest["spec"]["image"] = "next"
    lab.facts["database"] = replace(lab.state().database, error="refused")  # type: ignore[type-var]
    assert of(lab.round(), Create) == []


def deleted(found: Gate) -> list[str]:
    return [action.manifest["metadata"]["name"] for action in found.actions if isinstance(action, Delete)]


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    status = {"name": "migrate", "image": "taskmill:tset", "state": {"waiting": {"reason": reason, "message": message}}}
    return {"containerStatuses": [status]}


UNSCHEDULABLE = {
    "conditions": [
        {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
            "lastTransitionTime": at(-61),
        }
    ]
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (waiting("ImagePullBackOff", "not found"), "taskmill:tset: not found"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), 'secret "x" not found'),
        (UNSCHEDULABLE, "0/3 nodes are available"),
    ],
)
def test_a_job_whose_pod_does_not_start_says_why(status: dict[str, Any], words: str) -> None:
    made = job()
    found = gate(target(), made, pods=(job_pod(made, **status),))
    assert (found.open, found.verdict.reason, found.actions) == (False, "JobStuck", ())
    assert words in found.verdict.message


def test_a_pod_that_finds_no_node_counts_after_a_minute_and_is_looked_at_then() -> None:
    made = job()
    found = gate(target(), made, pods=(job_pod(made, **UNSCHEDULABLE),), seconds=-2)
    assert (found.verdict.reason, found.requeue_s) == ("JobRunning", 1)


def test_a_job_without_any_pod_says_what_the_events_say() -> None:
    made = job()
    assert gate(target(), made).requeue_s == c.JOB_LOOK_S
    found = gate(target(), made, refused={made["metadata"]["name"]: "exceeded quota: pods"})
    assert (found.verdict.reason, found.requeue_s) == ("JobStuck", c.JOB_LOOK_S)
    assert "exceeded quota: pods" in found.verdict.message


def test_a_job_that_nobody_wants_and_that_never_ran_goes_at_once() -> None:
    typo = target(bundle="0000000000")
    made = job(typo)
    stuck = (job_pod(made, **waiting("ImagePullBackOff")),)
    assert deleted(gate(target(), made, pods=stuck)) == [made["metadata"]["name"]]
    assert deleted(gate(target(), made, pods=(job_pod(made, code=1),))) == []  # 跑过的：库里也许正改到一半
    other = target("more").queue
    asks = replace(other, status=replace_struct(other.status, migration=MigrationStatus(bundle="0000000000")))
    assert deleted(gate(target(siblings=(asks,)), made, pods=stuck)) == []  # 还有人要它


def test_a_mistake_in_the_pod_that_is_mended_goes_on_at_once() -> None:
    wrong = target(pod={"nodeSelector": {"disk": "none"}})
    made = job(wrong)
    pods = (job_pod(made, **UNSCHEDULABLE),)
    assert deleted(gate(wrong, made, pods=pods)) == []
    assert deleted(gate(target(), made, pods=pods)) == [made["metadata"]["name"]]
    assert deleted(gate(target(), made, pods=(job_pod(made, code=1),))) == []
    stranger = target("more", siblings=(wrong.queue,))  # 不是它要的 Job：轮不到它改
    assert deleted(gate(stranger, made, pods=pods)) == []
    assert deleted(gate(target("more"), made, pods=pods)) == [made["metadata"]["name"]]  # 要它的队列已经没了


@pytest.mark.parametrize("state", [{"running": {"startedAt": at(-90)}}, {"waiting": {"reason": "ImagePullBackOff"}}])
def test_a_migration_that_is_done_counts_whatever_else_is_in_its_pod(state: dict[str, Any]) -> None:
    made = job()
    sidecar = {"name": "proxy", "state": state}
    pod = job_pod(made, code=0, message=RESULT)
    pod["status"] |= {"phase": "Running", "containerStatuses": [*pod["status"]["containerStatuses"], sidecar]}
    (fact,) = facts.read([made], [pod])
    assert (fact.state, fact.lingers, fact.ended_at) == (JobState.DONE, True, NOW - timedelta(seconds=60))
    found = gate(target(), made, pods=(pod,))
    assert (found.open, found.fields.database_revision) == (True, "0002")
    noted = copy.deepcopy(made)
    noted["spec"]["suspend"] = True
    noted["metadata"]["annotations"][names.MIGRATION_DONE] = f"{at(-60)} {RESULT}"
    (fact,) = facts.read([noted], [])
    assert (fact.state, fact.lingers, fact.result.after if fact.result else None) == (JobState.DONE, False, "0002")
    assert gate(target(), noted).open


def test_a_sidecar_that_fails_is_not_the_end_of_the_migration() -> None:
    made = job()
    crashed = {"name": "proxy", "state": {"terminated": {"exitCode": 44, "finishedAt": at(-10)}}}
    pod = job_pod(made, phase="Running", containerStatuses=[{"name": "migrate", "state": {"running": {}}}, crashed])
    assert gate(target(), made, pods=(pod,)).verdict.reason == "JobRunning"


@pytest.mark.parametrize(
    ("pod", "job_status"),
    [
        ({"phase": "Failed", "reason": "Evicted", "containerStatuses": []}, {}),  # 被驱逐的可能什么都没留下
        ({"phase": "Running", "containerStatuses": []}, {}),
        (None, {"terminating": 1}),
        (None, {"uncountedTerminatedPods": {"failed": ["u"]}}),
        (None, {"active": 1}),  # 有 Pod，我们还没看见
        (None, {"failed": 1}),
    ],
)
def test_a_job_that_may_have_run_is_not_deleted(pod: dict[str, Any] | None, job_status: dict[str, Any]) -> None:
    made = job(target(bundle="0000000000"), **job_status)
    pods = () if pod is None else (job_pod(made, **pod),)
    assert deleted(gate(target(), made, pods=pods)) == []


def test_a_sidecar_that_runs_beside_a_migration_that_cannot_start_is_no_run() -> None:
    made = job(target(bundle="0000000000"))
    pod = job_pod(made, **waiting("ImagePullBackOff"))
    pod["status"]["containerStatuses"].append({"name": "proxy", "state": {"running": {}}})
    assert deleted(gate(target(), made, pods=(pod,))) == [made["metadata"]["name"]]


def test_what_never_ran_is_out_of_the_way_of_a_retry_and_of_the_clean_up_too() -> None:
    other = job(target(bundle="0000000000"))
    stuck = job_pod(other, **waiting("ImagePullBackOff"))
    failed = job(failed="BackoffLimitExceeded", ended=-3600)
    found = gate(target(), failed, other, pods=(stuck,))
    assert (found.verdict.reason, deleted(found), created(found)) == ("JobFailed", [other["metadata"]["name"]], [])
    cleaning = contract(target(), job(done=True), other, pods=(stuck,))
    assert (cleaning.open, deleted(cleaning), created(cleaning)) == (True, [other["metadata"]["name"]], [])


def test_a_clean_up_that_does_not_start_says_why_and_is_made_anew_when_its_pod_is_corrected() -> None:
    wrong = target(pod={"nodeSelector": {"disk": "none"}})
    done, cleaning = job(done=True), job(wrong, phase="contract")
    pods = (job_pod(cleaning, **UNSCHEDULABLE),)
    found = contract(wrong, done, cleaning, pods=pods)
    assert (found.open, found.verdict.status, found.verdict.reason) == (True, True, "ContractStuck")
    assert "0/3 nodes are available" in found.verdict.message
    assert deleted(contract(target(), done, cleaning, pods=pods)) == [cleaning["metadata"]["name"]]
    refused = {cleaning["metadata"]["name"]: "exceeded quota: pods"}
    facts_ = facts.read([done, cleaning], (), refused)
    told = migration.contract(wrong, facts_, migration.expand(wrong, facts_, NOW), NOW, may_start=False)
    assert (told.verdict.reason, told.requeue_s) == ("ContractStuck", c.JOB_LOOK_S)
    runs = job_pod(cleaning, phase="Running", containerStatuses=[{"name": "migrate", "state": {"running": {}}}])
    assert contract(wrong, done, cleaning, pods=(runs,)).verdict.reason == "UpToDate"


def test_an_init_container_that_cannot_start_is_told() -> None:
    made = job()
    status = {"name": "fetch", "image": "fetch:typo", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such"}}}
    found = gate(target(), made, pods=(job_pod(made, initContainerStatuses=[status]),))
    assert (found.verdict.reason, "fetch:typo: no such" in found.verdict.message) == ("JobStuck", True)
