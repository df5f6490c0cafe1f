"""Full lists of everything that is watched: at the start they fill the caches, later they mend what a watch missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.failures import ForbiddenError, KubeError, NotFoundError
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.apiserver.tenants import Tenants
from taskmill.kube.crd.documents import SCHEMA_VERSION_ANNOTATION, VERSION_WORDS
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)
FIRST_VERSION = 1
Replace = Callable[[Kind, str, list[Manifest], str], None]


class Relister:
    """Lists every kind in every namespace (empty: all at once) and hands each list over.

    A namespace that may not be read is left out and tried again every KUBE_LOST_RETRY_S; the others do not wait for it.
    """

    def __init__(
        self,
        client: KubeClient,
        tenants: Tenants,
        replace: Replace,
        done: Callable[[], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client, self._tenants, self._replace, self._clock = client, tenants, replace, clock
        self._done = done
        self._trying: set[str] = set()  # 读不了的命名空间里，这一轮正在试的
        self._tried_at = float("-inf")
        self._done_at: float | None = None
        self._begun_at: float | None = None  # 这一轮完整列表从何时开始；没有在进行就没有
        self.sees_secrets = True
        self._due: dict[tuple[Kind, str], None] = {}  # 该列的种类与命名空间，按先后
        self._soon = asyncio.Event()

    def listed(self, kind: Kind, namespace: str) -> None:
        """Note that the watch layer has listed a kind: what was deleted before, it does not tell. We list it, too."""
        self._due[kind, namespace] = None
        self._soon.set()

    @property
    def age_s(self) -> float | None:
        """Return the seconds since the last complete set of lists, None before the first."""
        return self._clock.monotonic() - self._done_at if self._done_at is not None else None

    async def run_once(self) -> None:
        """List what is due, everything if it is time; KubeError at the first that fails, which then comes last.

        That labelled Secrets may not be listed is fine: they are read by name.
        """
        if self._rest() == 0 and self._begun_at is None:
            self._begun_at = self._clock.monotonic()
            self._want(self._tenants.all)
        elif self._retry_in() == 0:
            self._want(self._tenants.lost)
        while self._due:  # 一种一种来：上千个对象的列表同时在手要几百 MB
            kind, _ = next(iter(self._due))
            await self._batch([pair for pair in self._due if pair[0] is kind])
        if self._begun_at is not None:
            self._done_at, self._begun_at = self._begun_at, None
        self._done()

    def _want(self, namespaces: Iterable[str]) -> None:
        self._due |= {(kind, namespace): None for kind in k.WATCHED for namespace in namespaces}
        self._trying, self._tried_at = set(self._tenants.lost), self._clock.monotonic()

    async def _batch(self, pairs: Sequence[tuple[Kind, str]]) -> None:
        for pair in pairs:
            del self._due[pair]
        answers = await asyncio.gather(*(self._one(*pair) for pair in pairs), return_exceptions=True)
        failed: list[BaseException] = []
        for pair, answer in zip(pairs, answers, strict=True):
            if isinstance(answer, ForbiddenError) and pair[1]:
                self._lose(pair[1], answer)
            elif answer is not None:
                self._due[pair] = None  # 排到最后：一种列不出，不能挡着别的
                failed.append(answer)
        waiting = {namespace for _, namespace in self._due}
        for namespace in self._trying - waiting:
            self._trying.discard(namespace)
            self._tenants.find(namespace)
        for error in failed:
            raise error

    def _lose(self, namespace: str, error: ForbiddenError) -> None:
        self._tenants.lose(namespace, error)
        self._trying.discard(namespace)
        self._due = {pair: None for pair in self._due if pair[1] != namespace}

    async def _one(self, kind: Kind, namespace: str) -> None:
        try:
            items, version = await self._client.list(kind, namespace)
        except ForbiddenError:
            if kind is not k.SECRET:
                raise
            if self.sees_secrets:
                log.info(
                    "没有列出 Secret 的权限，改为按名字读取", namespace=namespace or "*", every_s=c.KUBE_SECRET_REFRESH_S
                )
            self.sees_secrets = False
            return
        self._replace(kind, namespace, items, version)

    async def run(self, stop: asyncio.Event) -> None:
        """List a kind again when the watch layer has, and all every five minutes, until `stop`; soon if it fails."""
        pause = self._rest()
        while not stop.is_set():
            await _first(stop, self._soon, seconds=pause)
            self._soon.clear()
            if not stop.is_set():
                pause = await self._round()

    async def _round(self) -> float:
        try:
            await self.run_once()
        except KubeError as error:
            log.warning("列表失败，稍后再试", error=str(error))
            return max(c.KUBE_RELIST_RETRY_S, getattr(error, "retry_after_s", None) or 0.0)
        return min(self._rest(), self._retry_in())

    def _retry_in(self) -> float:
        if not self._tenants.lost:
            return float("inf")
        return max(0.0, c.KUBE_LOST_RETRY_S - (self._clock.monotonic() - self._tried_at))

    def _rest(self) -> float:
        return max(0.0, c.KUBE_RELIST_S - self.age_s) if self.age_s is not None else 0.0


async def _first(*events: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


async def wait_for_crds(client: KubeClient, namespaces: Sequence[str], stop: asyncio.Event, needed: int) -> bool:
    """Wait until the CRDs are there and new enough; False if `stop` came first. The log says what is missing."""
    told = ""
    while not stop.is_set():
        missing = await missing_crds(client, namespaces, needed)
        if not missing:
            return True
        if missing != told:
            log.error("CRD 不可用，等待安装或升级 charts/taskmill-crds", reason=missing)
            told = missing
        try:
            await asyncio.wait_for(stop.wait(), c.KUBE_CRD_POLL_S)
        except TimeoutError:
            continue
    return False


async def _unlisted(client: KubeClient, kind: Kind, namespaces: Sequence[str]) -> str:
    """一个命名空间的权限没了，不能说明 CRD 没有：问得到一个就够。"""
    wrong = ""
    for namespace in namespaces or ("",):
        try:
            await client.list(kind, namespace)
        except NotFoundError:
            return f"{kind.plural}.{kind.group} is not installed"
        except ForbiddenError as error:
            wrong = wrong or str(error)
        except KubeError as error:
            return str(error)
        else:
            return ""
    return wrong


async def missing_crds(client: KubeClient, namespaces: Sequence[str], needed: int) -> str:
    """Return what is wrong with the CRDs, empty if nothing is."""
    for kind in (k.TASK_QUEUE, k.TASK_SCHEDULE):
        if wrong := await _unlisted(client, kind, namespaces):
            return wrong
        found = await _schema_version(client, kind)
        if found is not None and found < needed:
            return f"{kind.plural}.{kind.group} has schema version {found}, this operator needs {needed}"
    return ""


async def _schema_version(client: KubeClient, kind: Kind) -> int | None:
    """CRD 自己的注解说了算；没有看 CRD 的权限（只装在自己的命名空间里）或没有注解，就看人人可读的说明。

    最早的 CRD 有注解，说明里还没有写：读得到说明而没有这几个字的，就是第一版。两样都读不到就不知道。
    """
    text = ""
    try:
        crd = await client.get(k.CRD, "", f"{kind.plural}.{kind.group}")
        text = str((crd["metadata"].get("annotations") or {}).get(SCHEMA_VERSION_ANNOTATION) or "")
    except KubeError as error:
        log.debug("读不到 CRD，看它的说明", kind=kind.plural, error=str(error))
    if text.isdigit():
        return int(text)
    try:
        about = await client.described(kind)
    except KubeError:
        return None
    said = about.rpartition(VERSION_WORDS)[2].strip(" .") if VERSION_WORDS in about else ""
    return int(said) if said.isdigit() else FIRST_VERSION if about else None
