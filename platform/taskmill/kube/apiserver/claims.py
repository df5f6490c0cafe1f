"""Which operator acts in a namespace, where the rights of two overlap: a Lease there says so, renewed while it acts.

Not the election among the replicas of one release, which is `lease.py`: the claim is held by all of them together. Clocks
of machines are never compared: a foreign claim is over when it has not changed for its whole duration by our own clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ConflictError, ExistsError, ForbiddenError, InvalidError, KubeError
from taskmill.kube.apiserver.lease import Leases, lease_spec
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)


@dataclass(slots=True)
class _Seen:
    other: str  # 谁在管；空：我们
    until: float  # 到那时再看
    lease: Manifest | None = None
    since: float = 0.0  # 它在本机时钟的何时变成这样；我们的：何时续的
    refused: str = ""  # 不许我们读写租约，原话

    @property
    def held(self) -> bool:
        return not self.other and self.lease is not None


class Claims:
    """The claims of one operator, named `me`; each namespace is looked at when something in it is to be done."""

    def __init__(self, client: Leases, me: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client, self._me, self._clock = client, me, clock
        self._seen: dict[str, _Seen] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    @property
    def foreign(self) -> list[str]:
        """Return the namespaces in which another operator acts."""
        return sorted(namespace for namespace, seen in self._seen.items() if seen.other)

    @property
    def renew_s(self) -> float:
        """Return how often each claim is renewed: the more there are, the more seldom, so that writes stay few."""
        held = sum(seen.held for seen in self._seen.values())
        return min(c.CLAIM_RENEW_MAX_S, max(c.CLAIM_RENEW_S, held / c.CLAIM_WRITES_PER_S))

    async def other(self, namespace: str) -> str:
        """Return who acts in a namespace instead of us, empty if we do; KubeError."""
        async with self._asking.setdefault(namespace, asyncio.Lock()):
            seen = self._seen.get(namespace)
            if seen is None or self._clock.monotonic() >= seen.until:
                seen = await self._look(namespace, seen)
                self._tell(namespace, seen)
                self._seen[namespace] = seen
            return seen.other

    async def keep(self, used: Collection[str]) -> None:
        """Renew what is due of our claims, and give up those of namespaces that are not `used` any more."""
        now = self._clock.monotonic()
        due = [name for name, seen in self._seen.items() if seen.held and (now >= seen.until or name not in used)]
        gate = asyncio.Semaphore(c.KUBE_WRITES)

        async def one(namespace: str) -> None:
            async with gate:
                if namespace not in used:
                    await self._give_up(namespace)
                    return
                try:
                    await self.other(namespace)
                except KubeError as error:  # 已经到期：下一次对账会再问
                    log.warning("没能续上对命名空间的认领", namespace=namespace, error=str(error))

        await asyncio.gather(*(one(namespace) for namespace in due))

    async def _look(self, namespace: str, before: _Seen | None) -> _Seen:
        now = self._clock.monotonic()
        lasts = before is not None and before.lease is not None and now - before.since < _duration_s(before.lease)
        try:
            return await self._ask(namespace, before, now)
        except (ForbiddenError, InvalidError) as error:
            if before is not None and before.other and lasts:  # 刚重启的 API 服务器会短暂答 403
                return replace(before, until=now + c.CLAIM_LOOK_S)
            return _Seen("", now + c.CLAIM_LOOK_S, refused=str(error))
        except (ConflictError, ExistsError):
            return _Seen(before.other if before is not None else "?", now)  # 别人快了一步：马上再看
        except KubeError:
            if before is None or (before.held and not lasts):
                raise
            return replace(before, until=now + c.CLAIM_RETRY_S)  # 一时问不到：在它到期之前，照上次知道的办

    async def _ask(self, namespace: str, before: _Seen | None, now: float) -> _Seen:
        found = await self._client.find(k.LEASE, namespace, names.CLAIM)
        holder = holder_of(found)
        since = before.since if before is not None and _same(before.lease, found) else now
        if found is None or holder in {"", self._me} or now - since >= _duration_s(found):
            every = self.renew_s
            return _Seen("", now + every, await self._take(namespace, found, holder, c.CLAIM_MISSED * every), now)
        return _Seen(holder, now + c.CLAIM_LOOK_S, found, since)

    async def _take(self, namespace: str, found: Manifest | None, holder: str, duration_s: float) -> Manifest:
        old = (found or {}).get("spec") or {}
        spec = lease_spec(self._me, duration_s, self._clock.now(), old if holder == self._me else {})
        body = claim_lease(namespace, spec, found)
        return await (self._client.create(body) if found is None else self._client.replace(body))

    def _tell(self, namespace: str, seen: _Seen) -> None:
        known = self._seen.get(namespace)
        if seen.refused and (known is None or not known.refused):
            log.warning("没有权限读写这个命名空间里的租约，当作只有我们", namespace=namespace, error=seen.refused)
        if seen.other and (known is None or known.other != seen.other):
            log.error("别的控制器管着这个命名空间，我们不动它", namespace=namespace, other=seen.other, we=self._me)
        elif not seen.other and known is not None and known.other:
            log.warning("接管这个命名空间", namespace=namespace, before=known.other)

    def prune(self, namespaces: set[str]) -> None:
        """Forget the other namespaces, such as those that are gone; a claim of ours only once it has run out."""
        now = self._clock.monotonic()
        for namespace in self._seen.keys() - namespaces:
            seen = self._seen[namespace]
            if seen.other or seen.lease is None or now - seen.since >= _duration_s(seen.lease):
                del self._seen[namespace]
        for namespace in self._asking.keys() - namespaces - self._seen.keys():
            if not self._asking[namespace].locked():
                del self._asking[namespace]

    async def release(self) -> None:
        """Give up all that we hold, so that another operator need not wait for its end; failures are only told."""
        gate = asyncio.Semaphore(c.KUBE_WRITES)

        async def one(namespace: str) -> None:
            async with gate:
                await self._give_up(namespace)

        try:
            async with asyncio.timeout(c.LEASE_RELEASE_S):
                await asyncio.gather(*(one(namespace) for namespace in list(self._seen)))
        except TimeoutError:
            log.warning("没来得及交还所有命名空间，等它们自己到期")

    async def _give_up(self, namespace: str) -> None:
        async with self._asking.setdefault(namespace, asyncio.Lock()):
            seen = self._seen.pop(namespace, None)
            if seen is None or seen.lease is None or seen.other:
                return
            try:
                await self._client.replace(free(seen.lease))
            except KubeError as error:
                log.warning("没能交还命名空间，等它自己到期", namespace=namespace, error=str(error))


def claim_lease(namespace: str, spec: Manifest, found: Manifest | None) -> Manifest:
    """Return the Lease of a namespace: a new one, or what is `found` with another spec."""
    metadata: Manifest = {"name": names.CLAIM, "namespace": namespace, "labels": names.claim_labels()}
    if found is not None:
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
    return {"apiVersion": k.LEASE.api_version, "kind": k.LEASE.kind, "metadata": metadata, "spec": spec}


def free(lease: Manifest) -> Manifest:
    """Return the Lease as its holder leaves it: whoever comes next may take it."""
    return claim_lease(lease["metadata"]["namespace"], {**lease["spec"], "holderIdentity": ""}, lease)


def holder_of(lease: Manifest | None) -> str:
    """Return who holds a claim, empty if nobody does."""
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def _same(before: Manifest | None, found: Manifest | None) -> bool:
    return bool(before and found) and before["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]  # type: ignore[index]


def _duration_s(lease: Manifest) -> float:
    return float((lease.get("spec") or {}).get("leaseDurationSeconds") or c.CLAIM_DURATION_MAX_S)
