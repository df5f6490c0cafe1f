"""The stage of the queue's own policy: its pause and its settings, as the spec says, in the database."""

from __future__ import annotations

from typing import Any

import msgspec

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.kube import names
from taskmill.kube.crd.model import queue_name
from taskmill.kube.crd.policy import ELSEWHERE, Policy, only, settings
from taskmill.kube.crd.status import PolicyStatus
from taskmill.kube.plan.draft import Draft
from taskmill.kube.state import PutPolicy


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
    wanted = {name: value for name, value in _wanted(draft).items() if not known.lacks(name)}
    plain = QueuePolicyChange(**wanted).values()
    changed = {name: value for name, value in wanted.items() if plain[name] != known.settings.get(name)}
    if paused is not msgspec.UNSET or changed:
        draft.actions.append(
            PutPolicy(queue_name(draft.queue), QueuePolicyChange(paused=paused, **changed), by, former if renames else "")
        )
    if known.paused and not ours:
        draft.paused_by = known.paused_by or "somebody"
    # 没写成就没有这份状态：写成之后库里的就是它
    draft.status.queue = PolicyStatus(
        paused=known.paused if paused is msgspec.UNSET else paused,
        policy=only(spec.policy, {*wanted}) if spec.policy != Policy() else None,
        **{field: wanted[name] for name, field in ELSEWHERE.items() if name in wanted},
    )


def _wanted(draft: Draft) -> dict[str, Any]:
    """Spec 说了的归我们；上次写过而如今不说的，还回去；从没说过的归别人。状态里的 policy 记着写过哪些。"""
    spec, before = draft.queue.spec, draft.queue.status.queue
    written = settings(before.policy) if before is not None and before.policy is not None else {}
    own = {name: getattr(spec, field) for name, field in ELSEWHERE.items()}
    return {**own, **dict.fromkeys(written), **settings(spec.policy)}
