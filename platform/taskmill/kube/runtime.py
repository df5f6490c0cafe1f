"""The operator as a process: wires the parts, leads when it holds the lease, and stops in order.

API server ──watch, lists──▶ Intake ──▶ Cache ─┐
PostgreSQL ──every tick────▶ DatabaseLink ─────┼─▶ State ─▶ plan() ─▶ Applier ──▶ API server, PostgreSQL
                              └─▶ Scaling ─────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from taskmill import constants as c
from taskmill.kube import constants as kc
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.claims import Claims
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.failures import KubeError
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.apiserver.kopf.watch import Watch
from taskmill.kube.apiserver.lease import Lease
from taskmill.kube.apiserver.relist import Relister, wait_for_crds
from taskmill.kube.apiserver.tenants import Tenants
from taskmill.kube.crd.documents import SCHEMA_VERSION
from taskmill.kube.health import Health, LoopLag
from taskmill.kube.loop.apply import Applier
from taskmill.kube.loop.events import EventPoster
from taskmill.kube.loop.leadership import Leadership
from taskmill.kube.loop.queue_round import Planner, Reconciler
from taskmill.kube.loop.rollout_limit import Rollouts
from taskmill.kube.loop.rounds import Tools
from taskmill.kube.loop.schedule_round import ScheduleReconciler
from taskmill.kube.loop.status import StatusWriter
from taskmill.kube.loop.tick import Scaling
from taskmill.kube.loop.workers import work
from taskmill.kube.loop.workqueue import WorkQueue
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.cache import Cache
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.observe.databases import Databases
from taskmill.kube.observe.facts import GROUPERS, Facts
from taskmill.kube.observe.intake import Intake
from taskmill.kube.observe.secret_facts import Secrets
from taskmill.kube.plan.plan import plan
from taskmill.kube.state import Options
from taskmill.log import get_logger
from taskmill.serving.endpoint import listening

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorConfig:
    """What the settings say. `namespaces` empty: the whole cluster. `home`: where the lease is."""

    namespaces: tuple[str, ...]
    home: str
    identity: str
    default_image: str
    lease_name: str
    health_host: str
    health_port: int = c.OPERATOR_HEALTH_PORT
    worker_health_port: int = kc.WORKER_HEALTH_PORT
    tick_s: float = c.OPERATOR_TICK_S
    workers: int = c.OPERATOR_WORKERS
    rollouts: int = c.OPERATOR_ROLLOUTS


class Operator:
    """One process. `run` returns after `stop`."""

    def __init__(self, config: OperatorConfig, client: KubeClient, metrics: Metrics, planner: Planner = plan) -> None:
        self._config, self._client, self._metrics = config, client, metrics
        self._lag = LoopLag()
        self._synced = False
        options = Options(config.default_image, config.worker_health_port, config.lease_name)
        queue = self._queue = WorkQueue[Key]()
        cache = self._cache = Cache(GROUPERS)
        secrets = Secrets(client)
        self._databases = Databases(self._tick, tick_s=config.tick_s, refused=self._login_refused)
        self._facts = Facts(cache, secrets, self._databases, client, options)
        self._scaling = Scaling(self._facts, queue.add, metrics, tick_s=config.tick_s)
        self._intake = Intake(self._facts, queue.add, metrics)
        self._lease = Lease(
            client, config.home, config.lease_name, config.identity, changed=self._lead, settled=self._settled
        )
        self._claims = Claims(client, f"{config.home}/{config.lease_name}")
        self._tenants = Tenants(config.namespaces, self._wake)
        self._relister = Relister(client, self._tenants, self._intake.replace, self._prune)
        status, events = StatusWriter(client, cache), EventPoster(client, config.identity, metrics)
        applier = Applier(client, cache, self._token)
        tools = Tools(
            self._facts, applier, status, events, queue, metrics, self._token, lost=self._tenants.error, claims=self._claims
        )
        self._queues = Reconciler(tools, planner, self._scaling, Rollouts(config.rollouts, queue.add))
        self._schedules = ScheduleReconciler(tools)
        self._leadership = Leadership(self._begin, self._token)
        self._watch: Watch | None = None

    def _tick(self, link: Any) -> float:
        return self._scaling.tick(link)

    def _login_refused(self, link: DatabaseLink) -> None:
        for user in link.users:
            if isinstance(user, Key) and self._facts.doubt(user):
                self._queue.add(user)

    def _token(self) -> int | None:
        return self._lease.token if self._lease.held else None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; SetupError if the health port is taken."""
        health = Health(self._metrics, live=self._wrong_alive, ready=self._wrong_ready, refresh=self.refresh)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                listening(health, self._config.health_host, self._config.health_port, "TASKMILL_OPERATOR_HEALTH_PORT")
            )
            await stack.enter_async_context(_running(self._lag.run(), "lag"))
            if not await wait_for_crds(self._client, self._config.namespaces, stop, SCHEMA_VERSION):
                return
            if not await self._sync(stop):
                return
            stack.push_async_callback(self._databases.close)
            kinds = [kind for kind in k.WATCHED if kind is not k.SECRET or self._facts.secrets.watching]
            self._watch = Watch(self._tenants, self._intake.event, self._relister.listed, kinds)
            self._watch.start()
            stack.push_async_callback(self._watch.stop)
            for number in range(self._config.workers):
                await stack.enter_async_context(
                    _running(work(self._queue, self._leadership, self._round), f"worker-{number}")
                )
            await stack.enter_async_context(_running(self._relister.run(stop), "relist"))
            await stack.enter_async_context(_running(self._keep_claims(), "claims"))
            await self._lease.run(stop)
            log.info("控制器正在停止")

    async def _sync(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            try:
                await self._relister.run_once()
            except KubeError as error:
                log.warning("读不到集群里的对象，稍后再试", error=str(error))
                try:
                    await asyncio.wait_for(stop.wait(), kc.KUBE_CRD_POLL_S)
                except TimeoutError:
                    continue
                return False
            self._synced, self._facts.secrets.watching = True, self._relister.sees_secrets
            log.info("缓存已就绪", queues=len(self._cache.names(k.TASK_QUEUE)), pods=len(self._cache.names(k.POD)))
            return True
        return False

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(kc.CLAIM_KEEP_S)
            if self._leadership.acts:
                kinds = (k.TASK_QUEUE, k.TASK_SCHEDULE)
                await self._claims.keep({namespace for kind in kinds for namespace, _ in self._cache.names(kind)})

    def _wake(self, namespace: str) -> None:
        for kind in (k.TASK_QUEUE, k.TASK_SCHEDULE):
            for name in self._cache.names(kind):
                if name[0] == namespace:
                    self._queue.add(Key(kind, *name))

    def _prune(self) -> None:
        self._facts.prune()
        both = (*self._cache.names(k.TASK_QUEUE), *self._cache.names(k.TASK_SCHEDULE))
        self._claims.prune({namespace for namespace, _ in both})

    async def _settled(self) -> None:
        while not self._queue.idle:  # noqa: ASYNC110 - 只在停止时看几眼，不值得一个事件
            await asyncio.sleep(kc.SETTLED_POLL_S)
        await self._claims.release()  # 只有主控、而且手上的都收了尾：别的控制器可以动手了

    def _lead(self, leading: bool) -> None:  # noqa: FBT001 - 租约的回调
        self._metrics.act(leading)
        self._leadership.lead(leading)

    async def _begin(self) -> None:
        """先认全谁用哪个数据库，再开始动手：否则先到的会以为自己独占。"""
        keys = [Key.queue(*name) for name in self._cache.names(k.TASK_QUEUE)]
        gate = asyncio.Semaphore(kc.KUBE_WRITES)

        async def connect(key: Key) -> None:
            async with gate:
                try:
                    await self._queues.connect(key)
                except KubeError as error:
                    log.warning("读不到 Secret，对账时再试", object=str(key), error=str(error))
                except Exception:
                    log.exception("认数据库时出错", object=str(key))

        await asyncio.gather(*(connect(key) for key in keys))
        await self._databases.looked()
        for kind in (k.TASK_QUEUE, k.TASK_SCHEDULE):
            for name in self._cache.names(kind):
                self._queue.add(Key(kind, *name))
        log.info("开始对账", queues=len(keys), databases=len(self._databases.links), token=self._lease.token)

    async def _round(self, key: Key) -> None:
        await (self._queues if key.kind is k.TASK_QUEUE else self._schedules).run(key)

    def _wrong_alive(self) -> str:
        if self._lag.seconds > kc.OPERATOR_LAG_MAX_S:
            return f"the event loop is {self._lag.seconds:.0f} s late"
        age = self._relister.age_s
        return f"the last full lists are {age:.0f} s old" if age is not None and age > kc.KUBE_RELIST_STALE_S else ""

    def _wrong_ready(self) -> str:
        return "" if self._synced else "the custom resources are not there yet, or the caches are not filled"

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.depth.set(self._queue.depth)
        self._metrics.oldest.set(self._queue.oldest_s)
        self._metrics.leader.set(int(self._lease.held))
        self._metrics.watch_restarts.set(self._watch.restarts if self._watch is not None else 0)
        self._metrics.namespaces_foreign.set(len(self._claims.foreign))
        self._metrics.namespaces_lost.set(len(self._tenants.lost))
        self._metrics.relist_age.set(self._relister.age_s or 0.0)
        self._metrics.databases_failing.clear()  # 没人用了的库不该一直告警
        for link in list(self._databases.links.values()):
            self._metrics.databases_failing.labels(link.identity).set(link.fact.failing_s)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run_operator(config: OperatorConfig, stop: asyncio.Event) -> None:
    """Run until `stop`; SetupError CONFIG_INVALID without a cluster to talk to."""
    metrics = Metrics()
    log.info("控制器启动", **{name: getattr(config, name) for name in OperatorConfig.__slots__})
    async with KubeClient.open(metrics.requests) as client:
        await Operator(config, client, metrics).run(stop)
