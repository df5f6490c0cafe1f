"""Leader election on a Lease: one operator acts, the others watch and wait.

The number of transitions is the fencing token that goes with every order in PostgreSQL: it grows whenever somebody
takes the lease, this process after a restart included, so the orders of an old leader are refused. Clocks of machines
are never compared: a foreign lease is over when it has not changed for its whole duration by our own clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as kc
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ConflictError, ExistsError, KubeError
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)


class Leases(Protocol):
    """The calls that an election needs; `KubeClient` has them."""

    async def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object or None."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create it."""
        ...

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace it."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """Times as client-go has them: how long a lease lasts, when a leader gives up, how often either tries."""

    duration_s: float = kc.LEASE_DURATION_S
    renew_s: float = kc.LEASE_RENEW_S
    retry_s: float = kc.LEASE_RETRY_S


def lease_spec(holder: str, duration_s: float, now: datetime, renewed: Manifest) -> Manifest:
    """Return the spec of a Lease that `holder` takes, or renews if it was `renewed` before."""
    moment = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": int(duration_s),
        "acquireTime": renewed.get("acquireTime") or moment,
        "renewTime": moment,
    }


async def _at_once() -> None:
    """没有要等的。"""


class Lease:
    """One candidate. `held` is true only while nobody else can have taken the lease.

    `settled` waits for what is still being done; it is given a few seconds before the lease is released.
    """

    def __init__(
        self,
        client: Leases,
        namespace: str,
        name: str,
        identity: str,
        *,
        config: LeaseConfig | None = None,
        clock: Clock = SYSTEM_CLOCK,
        changed: Callable[[bool], None] = lambda _: None,
        settled: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self._client, self._clock, self._changed, self._settled = client, clock, changed, settled
        self._config = config or LeaseConfig()
        self._namespace, self._name, self.identity = namespace, name, identity
        self._seen: Manifest | None = None  # 上次看到的 Lease
        self._seen_at = 0.0  # 它在本机时钟的何时变成这样
        self._renewed: float | None = None  # 上次成功续租之前的时刻
        self._leading = False
        self.token = 0

    @property
    def held(self) -> bool:
        """Say whether we lead; false as soon as a renewal is overdue, whatever hangs."""
        return self._renewed is not None and self._clock.monotonic() - self._renewed < self._config.renew_s

    async def run(self, stop: asyncio.Event) -> None:
        """Try and renew until `stop`, then release."""
        while not stop.is_set():
            await self.run_once()
            try:
                await asyncio.wait_for(stop.wait(), self._config.retry_s)
            except TimeoutError:
                continue
        await self.release()

    async def run_once(self) -> bool:
        """Take or renew the lease once; returns whether we lead."""
        before = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._config.renew_s / 2):
                won = await self._try()
        except (KubeError, TimeoutError) as error:
            log.warning("租约请求失败", lease=self._name, error=str(error) or type(error).__name__, leading=self._leading)
            won = None
        if won:
            self._renewed = before
        elif won is False:
            self._renewed = None
        self._report()
        return self.held

    def _report(self) -> None:
        if self.held == self._leading:
            return
        self._leading = self.held
        facts = {"lease": self._name, "token": self.token, "identity": self.identity}
        if self._leading:
            log.warning("开始担任主控", **facts)
        else:
            log.warning("不再是主控，停止一切动作", **facts)
        self._changed(self._leading)

    async def _try(self) -> bool:
        found = await self._client.find(k.LEASE, self._namespace, self._name)
        if found is None:
            return await self._take(None)
        if self._seen is None or found["metadata"]["resourceVersion"] != self._seen["metadata"]["resourceVersion"]:
            self._seen, self._seen_at = found, self._clock.monotonic()
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        # 同名的租约而我们还没领过：是本 Pod 里上一个进程留下的，它已经不在了
        if holder in ("", self.identity) or self._over(spec):
            return await self._take(found)
        return False

    def _over(self, spec: Manifest) -> bool:
        duration = float(spec.get("leaseDurationSeconds") or self._config.duration_s)
        return self._clock.monotonic() - self._seen_at >= duration

    async def _take(self, found: Manifest | None) -> bool:
        now = self._clock.now()
        old: Manifest = (found or {}).get("spec") or {}
        renewing = self._renewed is not None and old.get("holderIdentity") == self.identity
        # Lease 被删后重建，令牌也不许变小：从分钟数开始
        token = int(old.get("leaseTransitions") or 0) if found else int(now.timestamp() // 60)
        token = token if renewing else max(token, self.token) + 1
        spec = lease_spec(self.identity, self._config.duration_s, now, old if renewing else {}) | {"leaseTransitions": token}
        metadata = {"name": self._name, "namespace": self._namespace}
        if found is not None:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        body = {"apiVersion": k.LEASE.api_version, "kind": k.LEASE.kind, "metadata": metadata, "spec": spec}
        try:
            self._seen = await (self._client.create(body) if found is None else self._client.replace(body))
        except (ConflictError, ExistsError):
            return False  # 别人快了一步
        self._seen_at, self.token = self._clock.monotonic(), token
        return True

    async def release(self) -> None:
        """Give the lease up at once, so that another need not wait for its end."""
        if self._renewed is None or self._seen is None:
            return
        self._renewed = None
        self._report()
        try:  # 已发出的写还在路上：等它们落地，免得落在下一个主控之后
            await asyncio.wait_for(self._settled(), c.SHUTDOWN_GRACE_S)
        except TimeoutError:
            log.warning("还有动作没收尾，照样释放租约", lease=self._name)
        spec = {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        body = {
            "apiVersion": k.LEASE.api_version,
            "kind": k.LEASE.kind,
            "spec": spec,
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "resourceVersion": self._seen["metadata"]["resourceVersion"],
            },
        }
        try:
            await asyncio.wait_for(self._client.replace(body), kc.LEASE_RELEASE_S)
        except (KubeError, TimeoutError) as error:
            log.warning("租约未能释放，等它自己到期", lease=self._name, error=str(error) or type(error).__name__)
