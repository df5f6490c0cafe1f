"""The stages from the Secrets to the template: what workers there should be, and whether the database is ready for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.check import InvalidSpec
from taskmill.kube.crd.model import TaskQueue, named, parse_queue
from taskmill.kube.plan import drift, jobs, migration, rollout
from taskmill.kube.plan.conditions import stamp
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.jobs import JobState
from taskmill.kube.plan.migration import Gate, Target
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.render import workers as manifests
from taskmill.kube.render.workers import Rendering
from taskmill.kube.state import Apply, Conclude, Delete, Event, Manifest, Recall


def secrets_found(draft: Draft) -> bool:
    """Say whether every Secret is there and the database can be spoken to; otherwise the reason is given."""
    if missing := next(_missing(draft), None):
        draft.again_in(c.KUBE_SECRET_MISSING_S)
        draft.not_ready(Reason.CONNECTION_SECRET_MISSING, missing, stalled=True)
        return False
    database = draft.state.database
    if database is None or not database.identity:
        draft.again_in(c.KUBE_SECRET_MISSING_S)
        message = database.error if database else "the Secret of the database holds no text under its key"
        draft.not_ready(Reason.CONNECTION_INVALID, message or "no usable URL", stalled=True)
        return False
    return True


def render(draft: Draft) -> Rendering:
    """Return what the workers should be made from."""
    queue, state = draft.queue, draft.state
    live, shape = draft.deployment, manifests.spec_hash(draft.queue)
    # 除非 spec 变了或用户要新的，模板版本与默认镜像都留在原来那个
    kept = names.annotation(live, names.SPEC_HASH) == shape and queue.annotations.get(names.ADOPT_TEMPLATE) != "latest"
    known = names.annotation(live, names.TEMPLATE_VERSION)
    version = int(known) if kept and known.isdigit() and int(known) in manifests.RENDERERS else manifests.LATEST
    image = queue.spec.image or (kept and names.annotation(live, names.IMAGE)) or state.options.default_image
    content = sorted((name, fact.digest) for name, fact in state.secrets.items())
    content += sorted((f"ConfigMap {name}", fact.digest) for name, fact in state.config_maps.items())
    secrets = names.digest(content)
    if not queue.spec.image and image != state.options.default_image:
        draft.note = (
            f" The workers keep {image}; for this operator's {state.options.default_image}, "
            f"kubectl annotate taskqueue {queue.name} {names.ADOPT_TEMPLATE}=latest"
        )
    if not queue.spec.update.restart_on_secret_change or not state.sees_config_maps:  # 一时读不了，不能当作内容变了
        secrets = names.annotation(live, names.SECRETS_HASH) or secrets
    replicas = None if state.scaler_owns_replicas else int((live or {}).get("spec", {}).get("replicas", 0))
    return Rendering(
        queue=queue, image=image, bundle=manifests.bundle(queue, image),
        config_hash=names.digest([shape, image, version, state.options.health_port, secrets]), spec_hash=shape,
        secrets_hash=secrets, health_port=state.options.health_port, version=version,
        replicas=replicas,
    )  # fmt: skip


def migrated(draft: Draft, rendering: Rendering) -> bool:
    """Say whether the database has what the bundle needs; otherwise have it migrated."""
    target, facts = _target(draft, rendering), jobs.read(draft.state.jobs, draft.state.job_pods, draft.state.job_refusals)
    gate = migration.expand(target, facts, draft.state.now)
    done = draft.rollout is not None and not draft.rollout.busy and _is_live(draft, rendering)
    over = any(job.phase == "contract" and job.bundle == rendering.bundle and job.state is JobState.DONE for job in facts)
    may_start = done and not over and _alone(draft, rendering)
    gate = migration.contract(target, facts, gate, draft.state.now, may_start=may_start)
    _report(draft, gate)
    error = draft.state.database.error if draft.state.database else ""
    lingering = [
        Conclude(job.manifest, f"{stamp(job.ended_at or draft.state.now)} {job.words}") for job in facts if job.lingers
    ]
    draft.actions += [] if error else [*gate.actions, *lingering, *migration.prune(target, facts)]
    return gate.open


def workload(draft: Draft, rendering: Rendering) -> None:
    """Have ServiceAccount and Deployment as they should be."""
    state, queue = draft.state, draft.queue
    live = (state.service_account, state.deployment)
    if taken := next((each for each in live if each is not None and not manifests.is_ours(each, queue)), None):
        _taken(draft, taken)
        return
    _upsert(draft, manifests.service_account(rendering), state.service_account)
    rolls = not _is_live(draft, rendering)
    running = draft.rollout is not None and draft.rollout.replicas > 0
    if rolls and running and not state.options.may_start_rollout:
        draft.not_ready(Reason.ROLLOUT_WAITING, "waits until fewer rollouts run", going=True)
        return
    draft.template_changes = rolls
    _upsert(draft, manifests.deployment(rendering), state.deployment)


def budget(draft: Draft) -> None:
    """Have the PodDisruptionBudget as it should be, once there are pods to protect; last, so that nothing waits for it."""
    live, queue = draft.state.disruption_budget, draft.queue
    if live is not None and not manifests.is_ours(live, queue):
        _taken(draft, live)
    elif draft.deployment is not None and (live is not None or draft.scaled_to or (draft.rollout and draft.rollout.total)):
        _upsert(draft, manifests.disruption_budget(queue), live)


class Siblings:
    """The other TaskQueues on the database, read when somebody asks; one whose spec is wrong counts for nothing."""

    def __init__(self, manifests_: Iterable[Manifest]) -> None:
        self._manifests = manifests_

    def __iter__(self) -> Iterator[TaskQueue]:
        for manifest in self._manifests:
            try:
                yield parse_queue(manifest)
            except InvalidSpec:
                continue


def _missing(draft: Draft) -> Iterator[str]:
    known = {"Secret": draft.state.secrets, "ConfigMap": draft.state.config_maps}
    for each in named(draft.queue):
        if each.optional or (each.kind == "ConfigMap" and not draft.state.sees_config_maps):
            continue
        fact = known[each.kind].get(each.name)
        if fact is None or not fact.found:
            yield f"{each.kind} {each.name} is missing"
        elif each.key is not None and each.key not in fact.keys:
            yield f"{each.kind} {each.name} has no key {each.key}"


def _target(draft: Draft, rendering: Rendering) -> Target:
    database = draft.state.database
    identity = database.identity if database else ""
    return Target(draft.queue, Siblings(draft.state.siblings), rendering.image, identity, rendering.bundle)


def _is_live(draft: Draft, rendering: Rendering) -> bool:
    live = draft.state.deployment
    return rollout.config((live or {}).get("spec", {}).get("template")) == (rendering.config_hash, rendering.bundle)


def _alone(draft: Draft, rendering: Rendering) -> bool:
    """没有别的 bundle 的工作进程登记着，别的队列也没有旧的 Deployment 等着唤醒。"""
    workers = draft.state.workers
    if workers is None or any(worker.bundle != rendering.bundle for worker in workers):
        return False
    others = ((sibling.get("status") or {}).get("revision") or {} for sibling in draft.state.siblings)
    return all((revision.get("current") or rendering.bundle) == rendering.bundle for revision in others)


def _report(draft: Draft, gate: Gate) -> None:
    draft.verdicts.setdefault("Migrated", gate.verdict)
    draft.status.migration = gate.fields
    draft.events += gate.events
    draft.again_in(gate.requeue_s)
    if gate.open:
        return
    failed = gate.verdict.reason in {Reason.JOB_FAILED, Reason.SCHEMA_AHEAD}
    reason = Reason.MIGRATION_FAILED if failed else Reason.MIGRATION_PENDING
    draft.not_ready(reason, gate.verdict.message, stalled=gate.stalled, going=True)


def _taken(draft: Draft, live: Manifest) -> None:
    name = f"{live['kind']} {live['metadata']['name']}"
    if manifests.is_of_predecessor(live, draft.queue):  # 刚删掉、又马上重建：垃圾回收一会儿就来收
        draft.not_ready(Reason.WORKERS_STARTING, f"{name} of the TaskQueue that had this name before still goes", going=True)
    else:
        draft.not_ready(Reason.OBJECT_NAME_TAKEN, f"{name} belongs to somebody else", stalled=True)


def _upsert(draft: Draft, desired: Manifest | None, live: Manifest | None) -> None:
    if desired is None:
        if live is not None:
            draft.actions.append(Delete(live, "不再需要"))
    elif live is None:
        draft.actions.append(Apply(desired, "创建", fresh=True))
    elif not drift.is_current(desired, live):
        draft.actions.append(Apply(desired, "按 spec 更新"))
    elif changed := _changed(draft, desired, live):
        if draft.state.rewritten.get(live["kind"], frozenset()) is None:
            draft.actions.append(Recall(desired))
            draft.again_in(0.0)
            return
        if draft.state.options.correct_in_s > 0:
            draft.again_in(draft.state.options.correct_in_s)
            return
        draft.actions.append(Apply(desired, f"改回被别人改掉的字段：{', '.join(changed[:3])}"))
        message = f"{live['kind']} {live['metadata']['name']}: {', '.join(changed[:5])} had been changed from outside"
        draft.events.append(Event("Normal", "DriftCorrected", message))


def _changed(draft: Draft, desired: Manifest, live: Manifest) -> list[str]:
    """被别人改掉的字段；我们写下时准入策略就改写了的不算，改回去它又会改写。"""
    rewritten = draft.state.rewritten.get(live["kind"]) or frozenset()
    return [path for path, value in drift.differences(desired, live) if (path, value) not in rewritten]
