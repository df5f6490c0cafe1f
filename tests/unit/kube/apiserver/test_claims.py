"""Two operators whose rights overlap: one acts, the other waits and says so."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from structlog.testing import capture_logs

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube.apiserver.claims import Claims
from taskmill.kube.apiserver.failures import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    TransientError,
)
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.state import Manifest

pytestmark = pytest.mark.anyio


class Server:
    """Leases by namespace, with resource versions; counts what is asked and written."""

    def __init__(self) -> None:
        self.leases: dict[str, Manifest] = {}
        self.reads = self.writes = self.version = 0
        self.forbidden = False
        self.error: type[KubeError] | None = None
        self.busy = self.most = 0

    async def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        self.reads += 1
        if error := ForbiddenError if self.forbidden else self.error:
            raise error("get", f"{kind.plural} {namespace}/{name}", 403, "Forbidden", "no")
        return copy.deepcopy(self.leases.get(namespace))

    async def create(self, manifest: Manifest) -> Manifest:
        if manifest["metadata"]["namespace"] in self.leases:
            raise ExistsError("create", "leases", 409, "AlreadyExists", "is there")
        return self._write(manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
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


async def test_both_together_write_little(server: Server, clock: FakeClock) -> None:
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
    clock.advance(c.CLAIM_MISSED * c.CLAIM_RENEW_S - 1)
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
    clock.advance(c.CLAIM_LOOK_S)
    server.forbidden = False
    assert await ours.other("shop") == ""
    assert server.leases["shop"]["spec"]["holderIdentity"] == "central/platform"


async def test_a_refusal_that_is_no_missing_right_is_told_and_looked_at_again_later(
    server: Server, clock: FakeClock
) -> None:
    server.error = InvalidError
    ours, _ = pair(server, clock)
    with capture_logs() as logs:
        assert [await ours.other("shop") for _ in range(3)] == [""] * 3
        clock.advance(c.CLAIM_LOOK_S)
        assert await ours.other("shop") == ""
    assert server.reads == 2
    assert [each["log_level"] for each in logs] == ["warning"]


@pytest.mark.parametrize("error", [TransientError, NotFoundError])
async def test_an_own_claim_outlives_a_server_that_does_not_answer_until_it_has_run_out(
    server: Server, clock: FakeClock, error: type[KubeError]
) -> None:
    ours, _ = pair(server, clock)
    assert await ours.other("shop") == ""
    server.error = error
    clock.advance(c.CLAIM_RENEW_S)
    assert await ours.other("shop") == ""
    reads = server.reads
    assert await ours.other("shop") == ""
    assert server.reads == reads  # 不必每一轮都问
    clock.advance(c.CLAIM_MISSED * c.CLAIM_RENEW_S - c.CLAIM_RENEW_S)
    with pytest.raises(error):
        await ours.other("shop")
    server.error = None
    assert await ours.other("shop") == ""


@pytest.mark.parametrize("error", [TransientError, ForbiddenError])
async def test_a_foreign_claim_is_respected_though_it_cannot_be_read_for_a_moment(
    server: Server, clock: FakeClock, error: type[KubeError]
) -> None:
    ours, theirs = pair(server, clock)
    assert (await ours.other("shop"), await theirs.other("shop")) == ("", "central/platform")
    server.error = error
    clock.advance(c.CLAIM_LOOK_S)
    assert await theirs.other("shop") == "central/platform"


async def test_claims_are_renewed_without_any_round_and_given_up_with_the_last_object(
    server: Server, clock: FakeClock
) -> None:
    ours, theirs = pair(server, clock)
    for namespace in ("shop", "left"):
        assert (await ours.other(namespace), await theirs.other(namespace)) == ("", "central/platform")
    await ours.keep({"shop"})
    clock.advance(c.CLAIM_RENEW_S)
    await ours.keep({"shop"})
    assert server.writes == 4  # 认领两个、续一个、交还一个
    assert await theirs.other("left") == ""
    for _ in range(10):
        clock.advance(c.CLAIM_RENEW_S)
        await ours.keep({"shop"})
        assert await theirs.other("shop") == "central/platform"


@pytest.mark.parametrize(("namespaces", "every_s"), [(1, 60), (30, 60), (100, 200), (150, 300), (1000, 300)])
async def test_the_more_namespaces_the_more_seldom_each_is_renewed(
    server: Server, clock: FakeClock, namespaces: int, every_s: float
) -> None:
    ours, _ = pair(server, clock)
    used = [f"ns{number}" for number in range(namespaces)]
    for namespace in used:
        await ours.other(namespace)
    assert ours.renew_s == every_s
    clock.advance(c.CLAIM_RENEW_MAX_S)
    await ours.keep(used)
    assert {lease["spec"]["leaseDurationSeconds"] for lease in server.leases.values()} == {2 * every_s}
    server.writes = 0
    for _ in range(60):
        clock.advance(10)
        await ours.keep(used)
    assert server.writes == namespaces * 600 // every_s
    assert server.most <= c.KUBE_WRITES


async def test_a_release_of_many_is_not_one_after_another_and_has_a_bound(
    server: Server, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair(server, clock)
    for number in range(50):
        await ours.other(f"ns{number}")
    server.most = 0
    await ours.release()
    assert server.most == c.KUBE_WRITES
    assert [await theirs.other(f"ns{number}") for number in range(50)] == [""] * 50

    async def hangs(_: Manifest) -> Manifest:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(c, "LEASE_RELEASE_S", 0.01)
    monkeypatch.setattr(server, "replace", hangs)
    await asyncio.wait_for(theirs.release(), 5)


async def test_the_lease_bears_the_labels_by_which_people_find_it(server: Server, clock: FakeClock) -> None:
    ours, _ = pair(server, clock)
    await ours.other("shop")
    for _ in range(2):
        labels = server.leases["shop"]["metadata"]["labels"]
        assert labels == {
            "app.kubernetes.io/name": "taskmill",
            "app.kubernetes.io/managed-by": "taskmill",
            "app.kubernetes.io/component": "operator",
        }
        await ours.release()


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
    clock.advance(c.CLAIM_MISSED * c.CLAIM_RENEW_S)
    ours.prune(set())
    assert (ours._seen, ours._asking) == ({}, {})
