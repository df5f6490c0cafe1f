"""The stage that asks the workers themselves: whether they reach the broker, and whether what waits is served.

They say so with every renewal of their lease; pods that are ready and a database that answers do not tell.
"""

from __future__ import annotations

from taskmill.kube import constants as c
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.reasons import Reason
from taskmill.services.fleet import WorkerFact


def troubles_of(worker: WorkerFact) -> tuple[object, ...]:
    """Return what of a worker's troubles matters here; two that are equal give the same verdicts."""
    said = worker.troubles
    return said.broker if _away(worker) else "", tuple(sorted(said.plugins.items())), tuple(said.declined)


def lights(draft: Draft) -> None:
    """Report BrokerReachable and KindsServed, and that it is not ready where one is false."""
    if draft.state.workers is None:
        return  # 还没看过数据库，或它不答：上次说的照旧
    workers = [pod.worker for pod in draft.pods if pod.worker is not None]
    if not workers:
        draft.report("BrokerReachable", None, Reason.UNKNOWN, "no worker lives that could say so")
        draft.report("KindsServed", None, Reason.UNKNOWN, "no worker lives that could say so")
        return
    _plugins(draft, workers)
    _broker(draft, workers)
    _kinds(draft, workers)


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
    served = {kind for worker in workers for kind in worker.kinds}
    missing = sorted({kind for worker in workers for kind in worker.troubles.declined} - served)
    if not missing:
        draft.report("KindsServed", True, Reason.SERVED)
        return
    failed = {name: words for worker in workers for name, words in worker.troubles.plugins.items()}
    because = "".join(f"; plugin {name}: {words}" for name, words in sorted(failed.items()))
    words = f"tasks wait that no worker serves: {', '.join(missing)}{because}"
    draft.report("KindsServed", False, Reason.KINDS_NOT_SERVED, words)
    draft.not_ready(Reason.KINDS_NOT_SERVED, words)
