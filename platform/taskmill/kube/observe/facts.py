"""Gathers what is known about one TaskQueue into a `State`: from the caches and the last look at its database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ForbiddenError
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.crd.check import InvalidSpec
from taskmill.kube.crd.model import (
    TaskQueue,
    TaskSchedule,
    config_map_names,
    named,
    parse_queue,
    parse_schedule,
    queue_name,
    secret_names,
)
from taskmill.kube.crd.task_queue import TaskQueueSpec
from taskmill.kube.observe.cache import Cache, Grouper
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.observe.databases import Databases
from taskmill.kube.observe.refusals import Reader as EventReader
from taskmill.kube.observe.refusals import Refusals
from taskmill.kube.observe.secret_facts import Reader as ObjectReader
from taskmill.kube.observe.secret_facts import Secrets
from taskmill.kube.render import workers as manifests
from taskmill.kube.state import DatabaseFact, Manifest, Options, SecretFact, State
from taskmill.services.fleet import QueuePolicy, WorkerFact

NO_POLICY = QueuePolicy()


def of_queue(manifest: Manifest) -> Iterable[str]:
    """Group children by the TaskQueue that they belong to."""
    name = names.label(manifest, names.LABEL_QUEUE)
    return (name,) if name else ()


def of_database(manifest: Manifest) -> Iterable[str]:
    """Group Jobs by the database that they migrate."""
    name = names.label(manifest, names.LABEL_DATABASE)
    return (name,) if name else ()


def of_pod(manifest: Manifest) -> Iterable[str]:
    """Group pods by TaskQueue, or by the database when a Job made them."""
    return of_queue(manifest) or tuple(f"db:{name}" for name in of_database(manifest))


def of_secrets(manifest: Manifest) -> Iterable[str]:
    """Group TaskQueues by the Secrets that they name."""
    try:
        return secret_names(parse_queue(manifest))
    except (InvalidSpec, KeyError):
        return ()


def of_schedule(manifest: Manifest) -> Iterable[str]:
    """Group TaskSchedules by the Secret of their database."""
    try:
        return (parse_schedule(manifest).spec.connection.database_secret_ref.name,)
    except (InvalidSpec, KeyError):
        return ()


GROUPERS: dict[Kind, Grouper] = {
    k.TASK_QUEUE: of_secrets, k.TASK_SCHEDULE: of_schedule, k.DEPLOYMENT: of_queue, k.REPLICA_SET: of_queue, k.POD: of_pod,
    k.JOB: of_database, k.DISRUPTION_BUDGET: of_queue, k.SERVICE_ACCOUNT: of_queue,
}  # fmt: skip


class Siblings:
    """The other TaskQueues of the same namespace on a database, read from the cache when somebody asks."""

    def __init__(self, cache: Cache, key: Key, link: DatabaseLink | None) -> None:
        self._cache, self._key, self._link = cache, key, link

    def __iter__(self) -> Iterator[Manifest]:
        for user in self._link.users if self._link is not None else ():
            if (
                isinstance(user, Key)
                and user.kind is k.TASK_QUEUE
                and user != self._key
                and user.namespace == self._key.namespace
            ):
                manifest = self._cache.get(k.TASK_QUEUE, user.namespace, user.name)
                if manifest is not None:
                    yield manifest


@dataclass(frozen=True, slots=True)
class Connected:
    """The Secrets of an object, and the database that they lead to: None if they do not, `error` says why.

    `config_maps` None: they may not be read.
    """

    secrets: dict[str, SecretFact]
    link: DatabaseLink | None
    error: str = ""
    config_maps: dict[str, SecretFact] | None = None


class Reader(ObjectReader, EventReader, Protocol):
    """What is read from the API server itself; `KubeClient` has it."""


class Facts:
    """Reads only; what it cannot know is None."""

    def __init__(
        self,
        cache: Cache,
        secrets: Secrets,
        databases: Databases,
        reader: Reader,
        options: Options,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.cache, self.secrets, self.databases = cache, secrets, databases
        self._reader, self._clock = reader, clock
        self.config_maps = Secrets(reader, clock, k.CONFIG_MAP)
        self.refusals = Refusals(reader, clock)
        secrets.holds_url = self._holds_url
        self.options = options
        self._parsed: dict[Key, tuple[str, TaskQueue | None]] = {}
        self._claims: dict[Key, tuple[str, str]] = {}
        self._claimants: dict[tuple[str, str], set[Key]] = {}

    def parsed(self, key: Key) -> TaskQueue | None:
        """Return the typed TaskQueue, None if it is not there or not valid; parsed once for each version."""
        manifest = self.cache.get(key.kind, key.namespace, key.name)
        if manifest is None:
            return None
        version = str(manifest["metadata"].get("resourceVersion"))
        known = self._parsed.get(key)
        if known is None or known[0] != version:
            try:
                known = (version, parse_queue(manifest))
            except InvalidSpec:
                known = (version, None)
            self._parsed[key] = known
        return known[1]

    def prune(self) -> None:
        """Forget the Secrets and ConfigMaps that no object names any more, and the Jobs that are gone."""
        known = ((key.namespace, custom) for key, (_, custom) in self._parsed.items() if custom is not None)
        self.config_maps.keep_only({(space, name) for space, custom in known for name in config_map_names(custom)})
        self.secrets.keep_only(self.cache.group_names(k.TASK_QUEUE) | self.cache.group_names(k.TASK_SCHEDULE))
        self.refusals.keep_only({str(job["metadata"]["uid"]) for job in self.cache.all(k.JOB)})

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._parsed.pop(key, None)
        self._claim(key, None)
        self.databases.release(key)

    async def connect(self, key: Key, custom: TaskQueue | TaskSchedule, wanted: Iterable[str]) -> Connected:
        """Read the Secrets of an object and find its database; KubeError."""
        reference = custom.spec.connection.database_secret_ref
        facts = await self.secrets.facts(key.namespace, wanted, {reference.name})
        url = self.secrets.value(key.namespace, reference.name, reference.key)
        link, wrong = None, ""
        try:
            link = self.databases.use(key, url) if url else None
        except ValueError as error:
            wrong = f"Secret {reference.name}, key {reference.key}: {error}"
        if link is None:
            self.databases.release(key)
            self.secrets.lacks(key.namespace, reference.name)  # 也许很快就有人把它改对
        if isinstance(custom.spec, TaskQueueSpec):
            name = custom.spec.queue_name or custom.name
            self._claim(key, (link.identity, name) if link is not None else None)
        maps = await self._config_maps_of(key, custom)
        self._miss_keys(key, custom, facts, maps or {})
        return Connected(facts, link, wrong, maps)

    def _miss_keys(
        self, key: Key, custom: TaskQueue | TaskSchedule, secrets: dict[str, SecretFact], maps: dict[str, SecretFact]
    ) -> None:
        """缺的是其中的一项：补上了就要看到，不等它变旧。"""
        for each in named(custom) if isinstance(custom.spec, TaskQueueSpec) else ():  # type: ignore[arg-type] # 按 spec 分得清
            facts, known = (secrets, self.secrets) if each.kind == "Secret" else (maps, self.config_maps)
            fact = facts.get(each.name)
            if fact is not None and fact.found and each.key is not None and each.key not in fact.keys:
                known.lacks(key.namespace, each.name)

    async def _config_maps_of(self, key: Key, custom: TaskQueue | TaskSchedule) -> dict[str, SecretFact] | None:
        wanted = config_map_names(custom) if isinstance(custom.spec, TaskQueueSpec) else ()  # type: ignore[arg-type] # 按 spec 分得清
        try:
            return await self.config_maps.facts(key.namespace, wanted)
        except ForbiddenError:
            return None  # 旧的角色没有这个权限：照旧不管它们

    def doubt(self, key: Key) -> bool:
        """Have the Secret of an object's database read again in its next round: it may hold a new password by now.

        False if it was read lately, or is in doubt already: whoever then reads a new one wakes all that name it.
        """
        name = self._url_of(key)
        return name is not None and self.secrets.doubt(key.namespace, name)

    def _url_of(self, key: Key) -> str | None:
        """哪个 Secret 里有它的数据库的地址。"""
        if key.kind is k.TASK_QUEUE:
            queue = self.parsed(key)
            return queue.spec.connection.database_secret_ref.name if queue is not None else None
        manifest = self.cache.get(key.kind, key.namespace, key.name)
        return next(iter(of_schedule(manifest)), None) if manifest is not None else None

    def _holds_url(self, namespace: str, name: str) -> bool:
        if self.cache.group(k.TASK_SCHEDULE, namespace, name):
            return True
        queues = self.cache.group(k.TASK_QUEUE, namespace, name)
        return any(self._url_of(Key.of(k.TASK_QUEUE, each)) == name for each in queues)

    def database_fact(self, connected: Connected) -> DatabaseFact | None:
        """Return what is known of the database of an object."""
        if connected.link is not None:
            return connected.link.fact
        return DatabaseFact("", connected.error) if connected.error else None

    def state(self, key: Key, manifest: Manifest, connected: Connected, *, terminating: bool, token: int) -> State:
        """Return all facts about a TaskQueue."""
        cache, (namespace, name), link = self.cache, (key.namespace, key.name), connected.link
        queue = self.parsed(key)
        deployments = cache.group(k.DEPLOYMENT, namespace, name)
        group = link.identity[: names.DATABASE_CHARS] if link is not None else ""
        own = queue_name(queue) if queue is not None else name
        policies = link.policies if link is not None else None
        budget = next(iter(cache.group(k.DISRUPTION_BUDGET, namespace, name)), None)
        account = next(iter(cache.group(k.SERVICE_ACCOUNT, namespace, name)), None)
        ours = (
            (k.DEPLOYMENT, deployments[0] if deployments else None),
            (k.DISRUPTION_BUDGET, budget),
            (k.SERVICE_ACCOUNT, account),
        )
        return State(
            now=self._clock.now(),
            queue=manifest,
            options=self.options,
            secrets=connected.secrets,
            database=self.database_fact(connected),
            config_maps=connected.config_maps or {},
            sees_config_maps=connected.config_maps is not None,
            siblings=Siblings(self.cache, key, link),
            same_queue=self._older(key, manifest, own, link),
            namespace_terminating=terminating,
            deployment=deployments[0] if deployments else None,
            scaler_owns_replicas=bool(deployments) and cache.scaler_owns(namespace, deployments[0]["metadata"]["name"]),
            replica_sets=cache.group(k.REPLICA_SET, namespace, name),
            pods=cache.group(k.POD, namespace, name),
            jobs=cache.group(k.JOB, namespace, group) if group else (),
            job_pods=cache.group(k.POD, namespace, f"db:{group}") if group else (),
            disruption_budget=budget,
            service_account=account,
            rewritten={kind.kind: cache.rewritten(kind, each) for kind, each in ours},
            workers=link.workers if link is not None else None,
            load=link.load_of(own) if link is not None else None,
            policy=policies.get(own, NO_POLICY) if policies is not None else None,
            fencing_token=token,
            drain_since=link.drain_since if link is not None else {},
        )

    def supply(self, key: Key, manifest: Manifest, workers: tuple[WorkerFact, ...] | None) -> State:
        """Return only what counting the pods of a TaskQueue needs."""
        deployments, queue = self.cache.group(k.DEPLOYMENT, key.namespace, key.name), self.parsed(key)
        if deployments and queue is not None and not manifests.is_ours(deployments[0], queue):  # 例如刚删掉的同名者留下的
            return State(
                now=self._clock.now(), queue=manifest, options=self.options, secrets={}, database=None, workers=workers
            )
        return State(
            now=self._clock.now(),
            queue=manifest,
            options=self.options,
            secrets={},
            database=None,
            deployment=deployments[0] if deployments else None,
            replica_sets=self.cache.group(k.REPLICA_SET, key.namespace, key.name),
            pods=self.cache.group(k.POD, key.namespace, key.name),
            workers=workers,
        )

    async def terminating(self, manifest: Manifest) -> bool:
        """Say whether the namespace is going away; asked only while the object itself is being deleted. KubeError."""
        metadata = manifest["metadata"]
        if not metadata.get("deletionTimestamp"):
            return False
        try:
            found = await self._reader.find(k.NAMESPACE, "", metadata["namespace"])
        except ForbiddenError:
            return False  # 没有看命名空间的权限：照常收尾
        return found is None or bool(found["metadata"].get("deletionTimestamp"))

    def _claim(self, key: Key, claim: tuple[str, str] | None) -> None:
        """按（数据库，队列名）记下谁要这个队列：一个库上有上千个对象时不必每轮走一遍。"""
        old = self._claims.get(key)
        if old == claim:
            return
        if old is not None:
            self._claimants[old].discard(key)
            if not self._claimants[old]:
                del self._claimants[old]
        self._claims.pop(key, None)
        if claim is not None:
            self._claims[key] = claim
            self._claimants.setdefault(claim, set()).add(key)

    def _older(self, key: Key, manifest: Manifest, own: str, link: DatabaseLink | None) -> tuple[str, ...]:
        """比它早建、用同一个库的同一个队列名的对象：早者优先。"""
        found: list[str] = []
        for other in self._claimants.get((link.identity, own), ()) if link is not None else ():
            theirs = self.cache.get(k.TASK_QUEUE, other.namespace, other.name)
            parsed = self.parsed(other)
            if other != key and theirs is not None and parsed is not None and _age(theirs) < _age(manifest):
                found.append(str(other))
        return tuple(sorted(found))


def _age(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return metadata["creationTimestamp"], metadata["namespace"], metadata["name"]
