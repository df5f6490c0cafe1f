"""The stage that asks the workers themselves: whether they reach the broker, and whether what waits is served.

They say so with every renewal of their lease; pods that are ready and a database that answers do not tell.

Asked are those that go on working: not those that finish, and of a rollout under way the new ones, once one of them has
registered. What keeps them from working is graver than the rollout itself and stands in Ready before RolloutStuck and
RollingOut: it is why. Kinds that nobody serves come after these: the workers that are on their way may serve them.
"""

from __future__ import annotations

from typing import Final

from taskmill.kube import constants as c
from taskmill.kube.crd.model import queue_name
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.reasons import Reason
from taskmill.services.fleet import WorkerFact

NOBODY: Final = "no worker lives that could say so"


def troubles_of(worker: WorkerFact) -> tuple[object, ...]:
    """Return what of a worker's troubles matters here; two that are equal give the same verdicts."""
    said = worker.troubles
    return said.broker if _away(worker) else "", tuple(sorted(said.plugins.items())), tuple(said.declined)


def lights(draft: Draft) -> None:
    """Report BrokerReachable and KindsServed, and that it is not ready where workers cannot work."""
    if draft.state.workers is None:
        return  # 还没看过数据库，或它不答：上次说的照旧
    workers = _asked(draft)
    if not workers:
        draft.report("BrokerReachable", None, Reason.UNKNOWN, NOBODY)
        draft.report("KindsServed", None, Reason.UNKNOWN, NOBODY)
        return
    _plugins(draft, workers)
    _broker(draft, workers)
    _kinds(draft, workers)


def kinds(draft: Draft) -> None:
    """Say that it is not ready where KindsServed is false."""
    told = draft.verdicts.get("KindsServed")
    if told is not None and told.status is False:
        draft.not_ready(Reason.KINDS_NOT_SERVED, told.message)


def _asked(draft: Draft) -> list[WorkerFact]:
    staying = [(pod, pod.worker) for pod in draft.pods if pod.worker and not pod.leaving and not pod.worker.draining]
    if draft.rollout is not None and draft.rollout.rolling:
        newest = draft.rollout.newest_hash
        new = [worker for pod, worker in staying if pod.template == newest]
        return new or [worker for _, worker in staying]
    return [worker for _, worker in staying]


def _plugins(draft: Draft, workers: list[WorkerFact]) -> None:
    """规格里点了名的插件没有起来：就绪的 Pod 也是空转。"""
    named = {plugin.name for plugin in draft.queue.spec.plugins or ()}
    failed = {name: words for worker in workers for name, words in worker.troubles.plugins.items() if name in named}
    if failed:
        draft.not_ready(
            Reason.WORKERS_FAILING, "; ".join(f"plugin {name}: {words}" for name, words in sorted(failed.items()))
        )


def _away(worker: WorkerFact) -> bool:
    return bool(worker.troubles.broker) and worker.troubles.broker_s >= c.BROKER_AWAY_S


def _broker(draft: Draft, workers: list[WorkerFact]) -> None:
    away = [worker for worker in workers if _away(worker)]
    if not away:
        draft.report("BrokerReachable", True, Reason.REACHABLE)
        return
    words = f"{len(away)} of {len(workers)} workers: {away[0].troubles.broker}"
    draft.report("BrokerReachable", False, Reason.BROKER_UNREACHABLE, words)
    draft.not_ready(Reason.BROKER_UNREACHABLE, words)


def _kinds(draft: Draft, workers: list[WorkerFact]) -> None:
    own = queue_name(draft.queue)
    # 别处登记的、也领这个队列的工作进程，同样算数：它们的难处不算
    served = {kind for worker in draft.state.workers or () if own in worker.queues for kind in worker.kinds}
    served |= set(draft.state.load.elsewhere) if draft.state.load else set()
    missing = sorted({kind for worker in workers for kind in worker.troubles.declined} - served)
    if not missing:
        draft.report("KindsServed", True, Reason.SERVED)
        return
    failed = {name: words for worker in workers for name, words in worker.troubles.plugins.items()}
    because = "".join(f"; plugin {name}: {words}" for name, words in sorted(failed.items()))
    words = f"tasks wait that no worker serves: {', '.join(missing)}{because}"
    draft.report("KindsServed", False, Reason.KINDS_NOT_SERVED, words)
