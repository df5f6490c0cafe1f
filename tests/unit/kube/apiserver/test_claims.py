"""Two operators whose rights overlap: one acts, the other waits and says so."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube.apiserver.claims import Claims
from taskmill.kube.apiserver.failures import ConflictError, ExistsError, ForbiddenError
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.state import Manifest

pytestmark = pytest.mark.anyio


class Server:
    """Leases by namespace, with resource versions; counts what is asked and written."""

    def __init__(self) -> None:
        self.leases: dict[str, Manifest] = {}
        self.reads = self.writes = self.version = 0
        self.forbidden = False

    async def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        self.reads += 1
        if self.forbidden:
            raise ForbiddenError("get", f"{kind.plural} {namespace}/{name}", 403, "Forbidden", "no")
        return copy.deepcopy(self.leases.get(namespace))

    async def create(self, manifest: Manifest) -> Manifest:
        if manifest["metadata"]["namespace"] in self.leases:
            raise ExistsError("create", "leases", 409, "AlreadyExists", "is there")
        return self._write(manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        known = self.leases[manifest["metadata"]["namespace"]]["metadata"]["resourceVersion"]
        if manifest["metadata"]["resourceVersion"] != known:
            raise ConflictError("update", "leases", 409, "Conflict", "changed")
        return self._write(manifest)

    def _write(self, manifest: Manifest) -> Manifest:
        self.writes, self.version = self.writes + 1, self.version + 1
        made = copy.deepcopy(manifest)
        made["metadata"]["resourceVersion"] = str(self.version)
        self.leases[manifest["metadata"]["namespace"]] = made
        return copy.deepcopy(made)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Server:
    return Server()


def pair(server: Server, clock: FakeClock) -> tuple[Claims, Claims]:
    return Claims(server, "central/platform", clock), Claims(server, "shop/shop", clock)


async def test_the_first_that_comes_acts_and_the_other_says_who_does(server: Server, clock: FakeClock) -> None:
    ours, theirs = pair(server, clock)
    assert (await ours.other("shop"), await theirs.other("shop")) == ("", "central/platform")
    assert (ours.foreign, theirs.foreign) == ([], ["shop"])
    assert await theirs.other("elsewhere") == ""


async def test_both_together_write_once_in_five_minutes(server: Server, clock: FakeClock) -> None:
    ours, theirs = pair(server, clock)
    for _ in range(360):
        assert (await ours.other("shop"), await theirs.other("shop")) == ("", "central/platform")
        clock.advance(10)
    assert server.writes == 3600 / c.CLAIM_RENEW_S
    assert server.reads <= 3600 / c.CLAIM_RENEW_S + 3600 / c.CLAIM_LOOK_S + 2


async def test_a_claim_that_is_not_renewed_is_taken_over(server: Server, clock: FakeClock) -> None:
    ours, theirs = pair(server, clock)
    await ours.other("shop")
    assert await theirs.other("shop") == "central/platform"
    clock.advance(c.CLAIM_DURATION_S - 1)
    assert await theirs.other("shop") == "central/platform"
    clock.advance(c.CLAIM_LOOK_S)
    assert await theirs.other("shop") == ""
    assert await ours.other("shop") == "shop/shop"


async def test_a_claim_that_is_given_up_is_taken_at_the_next_look(server: Server, clock: FakeClock) -> None:
    ours, theirs = pair(server, clock)
    await ours.other("shop")
    assert await theirs.other("shop") == "central/platform"
    await ours.release()
    clock.advance(c.CLAIM_LOOK_S)
    assert await theirs.other("shop") == ""
    assert ours.foreign == []


async def test_a_restart_goes_on_with_its_own_claim(server: Server, clock: FakeClock) -> None:
    ours, _ = pair(server, clock)
    await ours.other("shop")
    again = Claims(server, "central/platform", clock)
    assert await again.other("shop") == ""


async def test_who_loses_the_race_looks_again(server: Server, clock: FakeClock) -> None:
    ours, theirs = pair(server, clock)

    class Slow(Server):
        async def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
            found = await server.find(kind, namespace, name)
            if not server.leases:
                await ours.other("shop")  # 我们正要写，别人先写了
            return found

        async def create(self, manifest: Manifest) -> Manifest:
            return await server.create(manifest)

    late: Any = Claims(Slow(), "shop/shop", clock)
    assert await late.other("shop") == "?"
    assert await late.other("shop") == "central/platform"
    assert await theirs.other("shop") == "central/platform"


async def test_without_rights_on_leases_it_acts_as_before(server: Server, clock: FakeClock) -> None:
    server.forbidden = True
    ours, _ = pair(server, clock)
    assert await ours.other("shop") == ""
    assert await ours.other("shop") == ""
    assert server.reads == 1


async def test_namespaces_that_are_gone_are_forgotten_and_what_we_hold_is_given_back(
    server: Server, clock: FakeClock
) -> None:
    ours, theirs = Claims(server, "ours", clock), Claims(server, "theirs", clock)
    await theirs.other("b")
    for namespace in ("a", "b"):
        await ours.other(namespace)
    assert ours.foreign == ["b"]
    ours.prune({"a"})
    assert ours.foreign == []
    ours.prune(set())
    await ours.release()
    assert server.leases["a"]["spec"]["holderIdentity"] == ""  # 没有对象了，也还是我们占着：还得交还
    await ours.other("a")
    clock.advance(c.CLAIM_RENEW_S + c.CLAIM_DURATION_S)
    ours.prune(set())
    assert (ours._seen, ours._asking) == ({}, {})
