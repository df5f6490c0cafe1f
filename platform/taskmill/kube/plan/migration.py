"""The gate between a new image and its workers: has the database what this bundle needs, and if not, who sees to it.

    no Job ──create──▶ running ──▶ done ──▶ gate open
                          │  └──▶ failed ──(backoff 1 → 30 min, a nonce, new settings)──▶ next attempt
                          └─ another Job of this database runs: wait, one migration at a time

Jobs are named after database, bundle and attempt, so that two operators or fifty queues make the same one. The lock in
the database is the real mutual exclusion; what is decided here only keeps Jobs from waiting in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.model import TaskQueue
from taskmill.kube.crd.status import MigrationStatus, RevisionStatus
from taskmill.kube.plan import pod_workers
from taskmill.kube.plan.conditions import Verdict, bounded, reason_of, stamp
from taskmill.kube.plan.jobs import JobFact, JobState
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.symptoms import gravest
from taskmill.kube.render.migration_job import (
    EXIT_AHEAD,
    EXIT_BROKEN,
    EXIT_LOCKED,
    JobOrder,
    Phase,
    marks,
    migration_job,
    template_hash,
)
from taskmill.kube.state import Action, Create, Delete, Event

MIGRATING: Final = frozenset(
    {Reason.JOB_RUNNING, Reason.JOB_STUCK, Reason.WAITING_FOR_LOCK, Reason.JOB_FAILED, Reason.MANUAL}
)


@dataclass(frozen=True, slots=True)
class Target:
    """What the database must be migrated for."""

    queue: TaskQueue
    siblings: Iterable[TaskQueue]  # 可能有上千个：只在真要用时才走一遍
    image: str
    database: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether workers of the bundle may start, and what is published about it; `stalled`: only a person can go on.

    Events are told by the TaskQueue that asked for the Job: a thousand others may wait for the same one, and say so in
    their conditions.
    """

    open: bool
    verdict: Verdict
    fields: MigrationStatus
    actions: tuple[Action, ...] = ()
    requeue_s: float | None = None
    stalled: bool = False
    events: tuple[Event, ...] = ()


def expand(target: Target, jobs: Sequence[JobFact], now: datetime) -> Gate:
    """Decide on the phase that comes before the rollout."""
    if target.queue.spec.migration.policy == "Skip":
        return Gate(
            True,
            Verdict("Migrated", True, Reason.SKIPPED, "spec.migration.policy is Skip"),
            MigrationStatus(bundle=target.bundle),
        )
    own = [job for job in jobs if job.phase == "expand" and job.bundle == target.bundle]
    if not own:
        return _remembered(target) or _first(target, jobs)
    latest = own[-1]
    if latest.state is JobState.DONE:
        return _again(target, latest, jobs) if _is_outdated(target, latest, jobs) else _done(target, latest)
    if latest.state is JobState.FAILED:
        return _failed(target, latest, jobs, now)
    return _unfinished(target, latest, now)


def contract(target: Target, jobs: Sequence[JobFact], gate: Gate, now: datetime, *, may_start: bool) -> Gate:
    """Decide on the phase after the rollout; the gate stays open whatever comes of it.

    `may_start`: the rollout is over and no older worker is left. A Job that exists is reported in any case.
    """
    if not gate.open or gate.verdict.reason != Reason.UP_TO_DATE.value:
        return gate
    own = [job for job in jobs if job.phase == "contract" and job.bundle == target.bundle]
    if not own:
        return _clean_up(target, jobs, gate) if may_start else gate
    latest = own[-1]
    if latest.state is JobState.DONE:  # 它的 Pod 可能已被清走：记着的版本不倒退
        told = latest.result.after if latest.result else None
        revision = told if told is not None else _old(target.queue).database_revision
        known = structs.replace(gate.fields, database_revision=str(revision)) if revision else gate.fields
        return replace(gate, fields=known)
    if latest.state is not JobState.FAILED:
        return _cleaning(target, latest, gate, now)
    again = _failed(target, latest, jobs, now)
    verdict = Verdict("Migrated", True, Reason.CONTRACT_FAILED, f"clean-up: {again.verdict.message}")
    return Gate(True, verdict, gate.fields, (*gate.actions, *(again.actions if may_start else ())), again.requeue_s)


def _clean_up(target: Target, jobs: Sequence[JobFact], gate: Gate) -> Gate:
    busy, gone = _in_the_way(target, jobs)
    made = gone if busy is not None else (_create(target, "contract", 0, marks(target.queue)),)
    return replace(gate, actions=(*gate.actions, *made))


def _cleaning(target: Target, job: JobFact, gate: Gate, now: datetime) -> Gate:
    """收缩的 Job 还没结束：起不来就说出来，它的 Pod 改对了就重做。"""
    if job.state is not JobState.ACTIVE or job.exit_code == EXIT_LOCKED:
        return gate
    if _is_corrected(target, job):
        return replace(gate, actions=(*gate.actions, Delete(job.manifest, "Pod 模板改了，而它从未跑起来")))
    stuck, again_s = _stuck(job, now)
    gate = replace(gate, requeue_s=again_s)
    if not stuck:
        return gate
    message = f"clean-up: Job {job.name} does not start: {stuck}"
    return replace(gate, verdict=Verdict("Migrated", True, Reason.CONTRACT_STUCK, message))


def prune(target: Target, jobs: Sequence[JobFact]) -> tuple[Delete, ...]:
    """Return the finished Jobs of the database that nobody needs: not among the last, and of no bundle in use."""
    finished = sorted((job for job in jobs if job.finished), key=_ended, reverse=True)[c.MIGRATION_JOBS_KEPT :]
    suspended = [job for job in jobs if job.state is JobState.SUSPENDED and job.manual]
    if not finished and not suspended:
        return ()
    queues = (target.queue, *target.siblings)
    if target.queue.key != min(queue.key for queue in queues if queue.deleted_at is None or queue is target.queue):
        return ()  # 共用数据库的队列里只有一个来清理
    used = {target.bundle} | {value for queue in queues for value in _bundles(queue)}
    newest = {(job.bundle, job.phase): job.name for job in jobs}  # 按次数升序，后者覆盖前者
    kept = {name for (bundle, _), name in newest.items() if bundle in used}
    old = [job for job in finished if job.name not in kept]
    stale = [job for job in suspended if job.bundle not in used]
    return tuple(Delete(job.manifest, "迁移 Job 已无用") for job in [*old, *stale])


def _remembered(target: Target) -> Gate | None:
    """Job 被清走了，但状态里记着这个数据库的这个 bundle 已经迁移完。"""
    old = _old(target.queue)
    name = names.job(target.database, target.bundle, "expand")
    other = names.job(target.database, target.bundle, "contract")
    known = (old.job or "").startswith((name, other))
    if old.bundle == target.bundle and old.completed_at and known:
        return Gate(True, Verdict("Migrated", True, Reason.UP_TO_DATE, old.message or ""), old)
    return None


def _first(target: Target, jobs: Sequence[JobFact]) -> Gate:
    fields = MigrationStatus(bundle=target.bundle, job=names.job(target.database, target.bundle, "expand"))
    if waits := _waits(target, jobs, fields):
        return waits
    verdict = Verdict("Migrated", False, Reason.JOB_RUNNING, f"Job {fields.job} was made")
    return Gate(False, verdict, fields, (_create(target, "expand", 0, marks(target.queue)),))


def _is_outdated(target: Target, job: JobFact, jobs: Sequence[JobFact]) -> bool:
    """Say whether the queue goes back to a bundle, and others have migrated the database since its Job was done.

    Only on the way from one bundle to another: queues that share a database with different images must not make each
    other's Jobs run for ever.
    """
    switching = _old(target.queue).bundle not in {None, target.bundle}
    return switching and any(
        other.state is JobState.DONE and other.bundle != target.bundle and _ended(other) > _ended(job) for other in jobs
    )


def _again(target: Target, job: JobFact, jobs: Sequence[JobFact]) -> Gate:
    """回到旧镜像：让它自己看看，如今的库它还读不读得了。"""
    if waits := _waits(target, jobs, _old(target.queue)):
        return waits
    action = _create(target, "expand", job.attempt + 1, marks(target.queue) | job.marks)
    name = action.manifest["metadata"]["name"]
    verdict = Verdict("Migrated", False, Reason.JOB_RUNNING, f"Job {name} was made")
    return Gate(False, verdict, MigrationStatus(bundle=target.bundle, job=name), (action,))


def _done(target: Target, job: JobFact) -> Gate:
    message = f"Job {job.name} is done"
    if job.result and job.result.ahead:
        message = f"the database is newer than the image (revision {job.result.after}), which can read it"
    events: tuple[Event, ...] = ()
    if job.asked_by in {"", target.queue.name} and reason_of(target.queue.status.conditions, "Migrated") in MIGRATING:
        events = (*_begun(target, job), Event("Normal", "MigrationCompleted", message))
    return Gate(True, Verdict("Migrated", True, Reason.UP_TO_DATE, message), _fields(target, job, message), events=events)


def _unfinished(target: Target, job: JobFact, now: datetime) -> Gate:
    fields = _fields(target, job)
    if job.state is JobState.SUSPENDED:
        return _suspended(target, job, fields)
    if job.exit_code == EXIT_LOCKED:
        return Gate(False, Verdict("Migrated", False, Reason.WAITING_FOR_LOCK, f"Job {job.name}: {job.words}"), fields)
    if job.state is JobState.ENDING:
        return Gate(False, Verdict("Migrated", False, Reason.JOB_RUNNING, f"Job {job.name} is ending"), fields)
    if _is_corrected(target, job):
        verdict = Verdict("Migrated", False, Reason.JOB_RUNNING, f"Job {job.name} is made anew, its pod has changed")
        return Gate(False, verdict, fields, (Delete(job.manifest, "Pod 模板改了，而它从未跑起来"),))
    stuck, again_s = _stuck(job, now)
    verdict = Verdict("Migrated", False, Reason.JOB_RUNNING, f"Job {job.name} runs")
    if stuck:
        verdict = Verdict("Migrated", False, Reason.JOB_STUCK, f"Job {job.name} does not start: {stuck}")
    return Gate(False, verdict, fields, requeue_s=again_s, events=_begun(target, job))


def _suspended(target: Target, job: JobFact, fields: MigrationStatus) -> Gate:
    if job.manual and target.queue.spec.migration.policy == "Auto":
        verdict = Verdict("Migrated", False, Reason.JOB_RUNNING, f"Job {job.name} is made anew")
        return Gate(False, verdict, fields, (Delete(job.manifest, "策略改为 Auto，重做一个不挂起的 Job"),))
    message = f'kubectl patch job {job.name} --type merge -p \'{{"spec":{{"suspend":false}}}}\' starts the migration'
    return Gate(False, Verdict("Migrated", False, Reason.MANUAL, message), fields, stalled=True)


def _stuck(job: JobFact, now: datetime) -> tuple[str, float | None]:
    """它的 Pod 为何起不来，多久之后再看。"""
    if job.refused:
        return job.refused, c.JOB_LOOK_S
    found = gravest((pod for pod in job.pods if pod_workers.is_active(pod)), now)
    if found is None:
        return "", None if job.pods else c.JOB_LOOK_S
    return ("", found.due_s) if found.due_s > 0 else (found.words, None)


def _is_corrected(target: Target, job: JobFact) -> bool:
    """要它的队列改了 Pod 的样子，而它一个容器也没跑起来过：不必等它到时限。别的队列只在那个队列没了之后才管。"""
    if job.ran or not _differs(target, job):
        return False
    others = (queue.name for queue in target.siblings)
    return job.asked_by in {"", target.queue.name} or job.asked_by not in others


def _is_reshaped(target: Target, job: JobFact) -> bool:
    """要它的队列改了 Pod 的样子：不等退避就再试。别的队列的 Pod 本来就不同，那不是理由。"""
    return job.asked_by == target.queue.name and _differs(target, job)


def _differs(target: Target, job: JobFact) -> bool:
    return job.template not in {"", template_hash(target.queue)}


def _begun(target: Target, job: JobFact) -> tuple[Event, ...]:
    """要这个 Job 的队列第一次见到它开跑；随状态一起记下，写不成就下一轮再说。"""
    if job.started_at is None or job.asked_by not in {"", target.queue.name}:
        return ()
    known = (_old(target.queue).job, _old(target.queue).started_at)
    return (
        () if known == (job.name, stamp(job.started_at)) else (Event("Normal", "MigrationStarted", f"Job {job.name} runs"),)
    )


def _failed(target: Target, job: JobFact, jobs: Sequence[JobFact], now: datetime) -> Gate:
    message = bounded(f"Job {job.name}: {_last_line(job.words) or job.why or 'failed'}")
    reason = {EXIT_AHEAD: Reason.SCHEMA_AHEAD, EXIT_LOCKED: Reason.WAITING_FOR_LOCK}.get(
        job.exit_code or 0, Reason.JOB_FAILED
    )
    verdict, fields = Verdict("Migrated", False, reason, message), _fields(target, job, message)
    wanted = marks(target.queue)
    lasting = job.exit_code in {EXIT_BROKEN, EXIT_AHEAD}
    wait_s = _backoff_s(job, now)
    if wanted - job.marks or _is_reshaped(target, job):
        lasting, wait_s = False, 0.0
    stalled = reason is not Reason.WAITING_FOR_LOCK
    if lasting:
        return Gate(False, verdict, fields, stalled=stalled)
    busy, gone = _in_the_way(target, jobs)
    if wait_s > 0 or busy is not None:
        return Gate(False, verdict, fields, gone, requeue_s=wait_s or None, stalled=stalled)
    phase: Phase = "contract" if job.phase == "contract" else "expand"
    again = _create(target, phase, job.attempt + 1, wanted | job.marks)
    return Gate(False, verdict, fields, (again,))


def _backoff_s(job: JobFact, now: datetime) -> float:
    """还要等多久：从一分钟起每次翻倍，三十分钟封顶。"""
    delay = min(c.MIGRATION_BACKOFF_MAX_S, c.MIGRATION_BACKOFF_MIN_S * 2.0 ** min(job.attempt, 10))
    due = (job.ended_at or now) + timedelta(seconds=delay)
    return max(0.0, (due - now).total_seconds())


def _waits(target: Target, jobs: Sequence[JobFact], fields: MigrationStatus) -> Gate | None:
    busy, actions = _in_the_way(target, jobs)
    if busy is None:
        return None
    verdict = Verdict("Migrated", False, Reason.JOB_RUNNING, f"waits for Job {busy.name}")
    return Gate(False, verdict, fields, actions)


def _in_the_way(target: Target, jobs: Iterable[JobFact]) -> tuple[JobFact | None, tuple[Delete, ...]]:
    """这个数据库还没结束的 Job，挂起着、没人放行的不算；没人再要它、又从未跑起来过的，删掉它。"""
    busy = next((job for job in jobs if not job.finished and job.state is not JobState.SUSPENDED), None)
    if busy is None or busy.ran or busy.state is JobState.ENDING:
        return busy, ()
    wanted = busy.bundle == target.bundle or any(_old(queue).bundle == busy.bundle for queue in target.siblings)
    return busy, () if wanted else (Delete(busy.manifest, "没有人再要它，容器也从未跑起来过"),)


def _create(target: Target, phase: Phase, attempt: int, why: frozenset[str]) -> Create:
    order = JobOrder(target.queue, tuple(target.siblings), target.image, target.database, target.bundle, phase, attempt, why)
    return Create(migration_job(order), f"迁移数据库（{phase}）")


def _fields(target: Target, job: JobFact, message: str = "") -> MigrationStatus:
    told = job.result.after if job.result else None
    done = job.ended_at if job.state is JobState.DONE else None
    return MigrationStatus(
        bundle=target.bundle, job=job.name,
        database_revision=str(told) if told is not None else _old(target.queue).database_revision,
        started_at=stamp(job.started_at) if job.started_at else None,
        completed_at=stamp(done) if done else None,
        message=bounded(message) if message else None,
    )  # fmt: skip


def _old(queue: TaskQueue) -> MigrationStatus:
    return queue.status.migration or MigrationStatus()


def _bundles(queue: TaskQueue) -> Iterable[str]:
    revision = queue.status.revision or RevisionStatus()
    return filter(None, (_old(queue).bundle, revision.current, revision.updated))


def _ended(job: JobFact) -> float:
    return job.ended_at.timestamp() if job.ended_at else 0.0


def _last_line(words: str) -> str:
    return words.splitlines()[-1].strip() if words else ""
