"""Leader election: one leader at a time, by each process's own clock; the token only grows."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from taskmill.clock import FakeClock
from taskmill.kube import constants as kc
from taskmill.kube.apiserver.failures import ConflictError, ExistsError, TransientError
from taskmill.kube.apiserver.lease import Lease

pytestmark = pytest.mark.anyio


class Server:
    """A Lease object with optimistic locking, as the API server has it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.down = False
        self.hangs = False

    def _check(self) -> None:
        if self.down:
            raise TransientError("get", "leases", 0, "", "down")

    def _store(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    async def find(self, kind: Any, namespace: str, name: str) -> dict[str, Any] | None:
        self._check()
        return copy.deepcopy(self.lease)

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.lease is not None:
            raise ExistsError("create", "leases", 409, "AlreadyExists", "")
        return self._store(manifest)

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.hangs:
            await asyncio.Event().wait()
        if self.lease is None or manifest["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError("update", "leases", 409, "Conflict", "")
        return self._store(manifest)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def candidate(server: Server, clock: FakeClock, name: str) -> Lease:
    return Lease(server, "ns", "lease", name, clock=clock)


async def test_the_first_leads_and_the_second_waits(server: Server, clock: FakeClock) -> None:
    a, b = candidate(server, clock, "a"), candidate(server, clock, "b")
    assert await a.run_once()
    assert not await b.run_once()
    for _ in range(20):
        clock.advance(2)
        assert await a.run_once()
        assert not await b.run_once()
    assert a.token == server.lease["spec"]["leaseTransitions"]


async def test_renewing_keeps_the_token_and_taking_over_raises_it(server: Server, clock: FakeClock) -> None:
    a, b = candidate(server, clock, "a"), candidate(server, clock, "b")
    await a.run_once()
    first = a.token
    clock.advance(2)
    await a.run_once()
    assert a.token == first
    await b.run_once()
    clock.advance(14.9)
    assert not await b.run_once()
    clock.advance(0.1)
    assert await b.run_once()
    assert b.token == first + 1
    assert not a.held


async def test_a_leader_that_cannot_renew_stops_before_another_can_begin(server: Server, clock: FakeClock) -> None:
    a, b = candidate(server, clock, "a"), candidate(server, clock, "b")
    await a.run_once()
    await b.run_once()
    server.down = True
    clock.advance(9.9)
    await a.run_once()  # 失败了，但上一次续租还算数
    assert a.held
    clock.advance(0.1)
    assert not a.held  # 没有任何请求也自己放手
    server.down = False
    assert not await b.run_once()  # 而别人还拿不到
    clock.advance(5)
    assert await b.run_once()


async def test_a_restart_of_the_same_pod_takes_its_own_lease_at_once_with_a_new_token(
    server: Server, clock: FakeClock
) -> None:
    old = candidate(server, clock, "pod-0")
    await old.run_once()
    new = candidate(server, clock, "pod-0")
    assert await new.run_once()
    assert new.token == old.token + 1


async def test_release_lets_another_take_over_at_once(server: Server, clock: FakeClock) -> None:
    changes: list[bool] = []
    a = Lease(server, "ns", "lease", "a", clock=clock, changed=changes.append)
    b = candidate(server, clock, "b")
    await a.run_once()
    await b.run_once()
    await a.release()
    assert changes == [True, False]
    assert await b.run_once()
    assert b.token == a.token + 1


async def test_a_deleted_lease_never_lowers_the_token(server: Server, clock: FakeClock) -> None:
    a = candidate(server, clock, "a")
    await a.run_once()
    first = a.token
    server.lease = None
    clock.advance(2)
    assert await a.run_once()
    assert a.token > first
    server.lease = None
    clock.advance(120)
    b = candidate(server, clock, "b")
    await b.run_once()
    assert b.token > a.token


async def test_who_loses_the_race_does_not_lead(server: Server, clock: FakeClock) -> None:
    a, b = candidate(server, clock, "a"), candidate(server, clock, "b")
    await a.run_once()
    await b.run_once()
    clock.advance(15)
    stale = await server.find(None, "", "")
    assert stale is not None
    await a.run_once()  # a 抢先续上

    async def find(*_: Any) -> dict[str, Any]:
        return stale

    server.find = find  # type: ignore[method-assign]
    assert not await b.run_once()


async def test_what_is_under_way_ends_before_the_lease_is_given_up(server: Server, clock: FakeClock) -> None:
    seen: list[tuple[bool, str]] = []

    async def settled() -> None:
        assert server.lease is not None
        seen.append((lease.held, server.lease["spec"]["holderIdentity"]))

    lease = Lease(server, "ns", "lease", "a", clock=clock, settled=settled)
    await lease.run_once()
    await lease.release()
    assert seen == [(False, "a")]  # 自己已不再动手，别人也还拿不到
    assert server.lease is not None and server.lease["spec"]["holderIdentity"] == ""


async def test_a_server_that_does_not_answer_holds_up_no_end(
    server: Server, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release has a bound of its own; the lease then runs out by itself."""
    monkeypatch.setattr(kc, "LEASE_RELEASE_S", 0.01)
    lease = candidate(server, clock, "a")
    assert await lease.run_once()
    server.hangs = True
    await asyncio.wait_for(lease.release(), 5)
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == "a"
