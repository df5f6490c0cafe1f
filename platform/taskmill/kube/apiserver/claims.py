"""Which operator acts in a namespace, where the rights of two overlap: a Lease there says so, renewed every few minutes.

Not the election among the replicas of one release, which is `lease.py`: the claim is held by all of them together. Clocks
of machines are never compared: a foreign claim is over when it has not changed for its whole duration by our own clock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ConflictError, ExistsError, ForbiddenError, KubeError
from taskmill.kube.apiserver.lease import Leases, lease_spec
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)


@dataclass(slots=True)
class _Seen:
    other: str  # 谁在管；空：我们
    until: float  # 到那时再看
    lease: Manifest | None = None
    since: float = 0.0  # 它在本机时钟的何时变成这样


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

    async def other(self, namespace: str) -> str:
        """Return who acts in a namespace instead of us, empty if we do; KubeError."""
        async with self._asking.setdefault(namespace, asyncio.Lock()):
            seen = self._seen.get(namespace)
            if seen is None or self._clock.monotonic() >= seen.until:
                seen = await self._look(namespace, seen)
                self._tell(namespace, seen.other)
                self._seen[namespace] = seen
            return seen.other

    async def _look(self, namespace: str, before: _Seen | None) -> _Seen:
        now = self._clock.monotonic()
        try:
            found = await self._client.find(k.LEASE, namespace, names.CLAIM)
            holder = str(((found or {}).get("spec") or {}).get("holderIdentity") or "")
            since = before.since if before is not None and _same(before.lease, found) else now
            if found is None or holder in {"", self._me} or now - since >= _duration_s(found):
                return _Seen("", now + c.CLAIM_RENEW_S, await self._take(namespace, found, holder), now)
        except ForbiddenError as error:
            log.info("没有读写这个命名空间里租约的权限，当作只有我们", namespace=namespace, error=str(error))
            return _Seen("", now + c.CLAIM_RENEW_S)
        except (ConflictError, ExistsError):
            return _Seen(before.other if before is not None else "?", now)  # 别人快了一步：马上再看
        return _Seen(holder, now + c.CLAIM_LOOK_S, found, since)

    async def _take(self, namespace: str, found: Manifest | None, holder: str) -> Manifest:
        old = (found or {}).get("spec") or {}
        spec = lease_spec(self._me, c.CLAIM_DURATION_S, self._clock.now(), old if holder == self._me else {})
        body = _lease(namespace, spec, found)
        return await (self._client.create(body) if found is None else self._client.replace(body))

    def _tell(self, namespace: str, other: str) -> None:
        known = self._seen.get(namespace)
        if other and (known is None or known.other != other):
            log.error("别的控制器管着这个命名空间，我们不动它", namespace=namespace, other=other, we=self._me)
        elif not other and known is not None and known.other:
            log.warning("接管这个命名空间", namespace=namespace, before=known.other)

    def prune(self, namespaces: set[str]) -> None:
        """Forget the other namespaces, such as those that are gone; a claim of ours only once it has run out."""
        now = self._clock.monotonic()
        for namespace in self._seen.keys() - namespaces:
            seen = self._seen[namespace]
            if seen.other or seen.lease is None or now - seen.until >= c.CLAIM_DURATION_S:
                del self._seen[namespace]
        for namespace in self._asking.keys() - namespaces - self._seen.keys():
            if not self._asking[namespace].locked():
                del self._asking[namespace]

    async def release(self) -> None:
        """Give up what we hold, so that another operator need not wait for its end; failures are only told."""
        for namespace, seen in self._seen.items():
            if seen.other or seen.lease is None:
                continue
            try:
                await self._client.replace(_lease(namespace, {**seen.lease["spec"], "holderIdentity": ""}, seen.lease))
            except KubeError as error:
                log.warning("没能交还命名空间，等它自己到期", namespace=namespace, error=str(error))
        self._seen.clear()


def _lease(namespace: str, spec: Manifest, found: Manifest | None) -> Manifest:
    metadata = {"name": names.CLAIM, "namespace": namespace}
    if found is not None:
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
    return {"apiVersion": k.LEASE.api_version, "kind": k.LEASE.kind, "metadata": metadata, "spec": spec}


def _same(before: Manifest | None, found: Manifest | None) -> bool:
    return bool(before and found) and before["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]  # type: ignore[index]


def _duration_s(lease: Manifest) -> float:
    return float((lease.get("spec") or {}).get("leaseDurationSeconds") or c.CLAIM_DURATION_S)
