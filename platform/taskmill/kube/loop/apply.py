"""Carries out the actions of a plan, in order; the first that fails ends the round."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import assert_never

from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.failures import ExistsError, NameTakenError
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.apiserver.kinds import kind_of
from taskmill.kube.observe.cache import Cache
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.plan import drift
from taskmill.kube.render import workers as manifests
from taskmill.kube.state import (
    Action,
    Apply,
    Conclude,
    Create,
    Delete,
    DeleteSchedule,
    DeletionCost,
    Manifest,
    OrderWorkers,
    PutPolicy,
    Recall,
    RecordDeath,
    Scale,
    ScaleQueue,
    SetFinalizer,
)
from taskmill.log import get_logger
from taskmill.services.fleet import Cause, PodDeath

log = get_logger(__name__)
REMEMBERED_DEATHS = 10_000


class NotLeadingError(Exception):
    """The lease was lost: nothing more may be done."""


class Applier:
    """`token` returns the fencing token while this process leads, else None; asked before every single action."""

    def __init__(self, client: KubeClient, cache: Cache, token: Callable[[], int | None]) -> None:
        self._client, self._cache, self._token = client, cache, token
        self._buried: OrderedDict[tuple[str, datetime], None] = OrderedDict()

    async def run(self, key: Key, actions: Sequence[Action | DeleteSchedule], link: DatabaseLink | None) -> None:
        """Do all; KubeError, TaskmillError, NotLeadingError."""
        for action in actions:
            token = self._token()
            if token is None:
                raise NotLeadingError
            await self._do(key, action, link, token)

    async def _do(self, key: Key, action: Action | DeleteSchedule, link: DatabaseLink | None, token: int) -> None:
        match action:
            case Apply():
                await self._apply(key, action)
            case Recall(manifest):
                await self._recall(manifest)
            case Create(manifest, why):
                await self._create(key, manifest, why)
            case Delete(manifest, why):
                log.info("删除", object=str(key), kind=manifest["kind"], name=manifest["metadata"]["name"], why=why)
                await self._client.delete(manifest)
            case Conclude(manifest, words):
                await self._conclude(key, manifest, words)
            case Scale() | ScaleQueue():
                await self._scale(key, action)
            case DeletionCost(pod, cost):
                text = str(cost) if cost is not None else None
                body = {"metadata": {"annotations": {names.DELETION_COST: text}}}
                self._keep(await self._client.merge(k.POD, key.namespace, pod, body))
            case SetFinalizer(present):
                await self._set_finalizer(key, present=present)
            case OrderWorkers() | PutPolicy() | RecordDeath() | DeleteSchedule():
                await self._report(action, link, token)
            case _:
                assert_never(action)

    async def _conclude(self, key: Key, manifest: Manifest, words: str) -> None:
        metadata = manifest["metadata"]
        log.info("迁移已做完，停下 Pod 里剩下的容器", object=str(key), name=metadata["name"])
        body = {
            "metadata": {"uid": metadata["uid"], "annotations": {names.MIGRATION_DONE: words}},
            "spec": {"suspend": True},
        }
        self._keep(await self._client.merge(k.JOB, metadata["namespace"], metadata["name"], body))

    async def _apply(self, key: Key, action: Apply) -> None:
        manifest = action.manifest
        if action.fresh:
            await self._is_free(manifest)
        log.info("应用", object=str(key), kind=manifest["kind"], name=manifest["metadata"]["name"], why=action.why)
        answer = await self._client.apply(manifest, names.CONTROLLER)
        self._keep(answer)
        self._cache.rewrote(kind_of(manifest), answer, drift.differences(manifest, answer))

    async def _recall(self, manifest: Manifest) -> None:
        """差异里仍归我们所有的，是我们写下时就被改写的；别人后来改的，已归了别人。"""
        kind, metadata = kind_of(manifest), manifest["metadata"]
        found = await self._client.find(kind, metadata["namespace"], metadata["name"])
        if found is not None:
            changed = drift.differences(manifest, found)
            self._cache.rewrote(kind, found, [each for each in changed if drift.owns(found, names.CONTROLLER, each[0])])

    async def _is_free(self, manifest: Manifest) -> None:
        """服务端应用会无声地接管同名的对象，而看守按标签只看得见自己的：新建之前先问一声。"""
        metadata, kind = manifest["metadata"], kind_of(manifest)
        found = await self._client.find(kind, metadata["namespace"], metadata["name"])
        if found is not None and not manifests.same_owner(found, manifest):
            name = f"{kind.kind} {metadata['name']}"
            raise NameTakenError("create", name, 409, "AlreadyExists", f"{name} belongs to somebody else")

    async def _scale(self, key: Key, action: Scale | ScaleQueue) -> None:
        target = action.deployment if isinstance(action, Scale) else key.name
        log.info("调整副本数", object=str(key), target=target, replicas=action.replicas, why=action.why)
        if isinstance(action, Scale):
            answer = await self._client.scale(k.DEPLOYMENT, key.namespace, target, action.replicas)
            self._cache.scaled(key.namespace, target, answer)
        else:
            # 没有 spec.replicas 时，/scale 的读、改、应用都是 500：第一个数只能写在对象本身
            body = {"spec": {"replicas": action.replicas}}
            self._keep(await self._client.merge(k.TASK_QUEUE, key.namespace, target, body, manager=names.SCALER))

    async def _create(self, key: Key, manifest: Manifest, why: str) -> None:
        log.info("创建", object=str(key), kind=manifest["kind"], name=manifest["metadata"]["name"], why=why)
        try:
            self._keep(await self._client.create(manifest))
        except ExistsError:
            log.info("已经有了", object=str(key), kind=manifest["kind"], name=manifest["metadata"]["name"])

    async def _report(
        self, action: OrderWorkers | PutPolicy | RecordDeath | DeleteSchedule, link: DatabaseLink | None, token: int
    ) -> None:
        """写进数据库的动作；没有数据库就没有可写的。"""
        if link is None:
            return
        service = await link.service()
        match action:
            case OrderWorkers(pod_uids, order):
                await service.order(pod_uids, order, token)
                link.wake()
            case PutPolicy(queue, change, by, former):
                await service.put_queue(queue, change, by, former)
                await link.refresh_policies()
            case DeleteSchedule(name, owner):
                await service.delete_schedule(name, owner=owner)
            case RecordDeath(pod_uid, cause, at):
                if (pod_uid, at) in self._buried:
                    return
                await service.bury([PodDeath(pod_uid, Cause(cause), at)])
                self._buried[pod_uid, at] = None
                while len(self._buried) > REMEMBERED_DEATHS:
                    self._buried.popitem(last=False)

    async def _set_finalizer(self, key: Key, *, present: bool) -> None:
        manifest = self._cache.get(key.kind, key.namespace, key.name)
        if manifest is None:
            return
        metadata = manifest["metadata"]
        kept = [each for each in metadata.get("finalizers") or () if each != names.FINALIZER]
        wanted = [*kept, names.FINALIZER] if present else kept
        if wanted == (metadata.get("finalizers") or []):
            return
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": wanted}}
        self._keep(await self._client.merge(key.kind, key.namespace, key.name, body))

    def _keep(self, answer: Manifest) -> None:
        """自己写下的立刻可见，不等看守送回来。"""
        kind = kind_of(answer)
        if kind in k.WATCHED and kind is not k.SECRET:
            self._cache.put(kind, answer)
