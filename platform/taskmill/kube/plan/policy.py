"""The stage of the queue's own policy: its pause and its settings, as the spec says, in the database."""

from __future__ import annotations

from typing import Any

import msgspec

from taskmill.kube import names
from taskmill.kube.crd.model import queue_name
from taskmill.kube.crd.status import PolicyStatus
from taskmill.kube.crd.task_queue import TaskQueueSpec
from taskmill.kube.plan.draft import Draft
from taskmill.kube.state import PutPolicy
from taskmill.services.fleet import QueuePolicyChange, QueueSettings

# 设置 → 规格与状态里的字段；CRD 里没有的，控制器不管
FIELDS = {
    name: field
    for name in QueueSettings.__struct_fields__
    if (field := f"{name.removesuffix('_s')}_seconds" if name.endswith("_s") else name) in TaskQueueSpec.__struct_fields__
}


def policy(draft: Draft) -> None:
    """Write what differs, and report what the database has.

    A pause that a person made in the database is theirs: only one of ours is lifted, and Ready says whose it is. A Hold
    belongs to the TaskQueue: one that an earlier operator wrote in its own name is written over.
    """
    spec, known = draft.queue.spec, draft.state.policy
    if known is None:
        return
    hold = spec.stop_policy != "None"
    by, former = names.holder(draft.queue.namespace, draft.queue.name), draft.state.options.instance
    renames = hold and known.paused and known.paused_by == former  # 从前记的是控制器的名字，它会改
    ours = known.paused_by in {by, former}
    paused = hold if (hold != known.paused and (hold or ours)) or renames else msgspec.UNSET
    wanted: dict[str, Any] = {name: getattr(spec, field) for name, field in FIELDS.items()}
    changed = {name: value for name, value in wanted.items() if value != getattr(known, name)}
    if paused is not msgspec.UNSET or changed:
        draft.actions.append(
            PutPolicy(queue_name(draft.queue), QueuePolicyChange(paused=paused, **changed), by, former if renames else "")
        )
    if known.paused and not ours:
        draft.paused_by = known.paused_by or "somebody"
    # 没写成就没有这份状态：写成之后库里的就是它
    draft.status.queue = PolicyStatus(
        paused=known.paused if paused is msgspec.UNSET else paused,
        **{FIELDS[name]: value for name, value in wanted.items()},
    )
