"""The stage of the queue's own policy: pause and retention, as the spec says, in the database."""

from __future__ import annotations

import msgspec

from taskmill.kube.crd.model import queue_name
from taskmill.kube.crd.status import PolicyStatus
from taskmill.kube.plan.draft import Draft
from taskmill.kube.state import PutPolicy
from taskmill.services.fleet import QueuePolicyChange


def policy(draft: Draft) -> None:
    """Write what differs, and report what the database has.

    A pause that a person made in the database is theirs: only one of ours is lifted.
    """
    spec, known = draft.queue.spec, draft.state.policy
    if known is None:
        return
    hold = spec.stop_policy != "None"
    ours = known.paused_by == draft.state.options.instance
    paused = hold if hold != known.paused and (hold or ours) else msgspec.UNSET
    retention = spec.retention_seconds if spec.retention_seconds != known.retention_s else msgspec.UNSET
    if paused is not msgspec.UNSET or retention is not msgspec.UNSET:
        draft.actions.append(PutPolicy(queue_name(draft.queue), QueuePolicyChange(paused=paused, retention_s=retention)))
    # 没写成就没有这份状态：写成之后库里的就是它
    draft.status.queue = PolicyStatus(
        paused=known.paused if paused is msgspec.UNSET else paused,
        retention_seconds=known.retention_s if retention is msgspec.UNSET else retention,
    )
