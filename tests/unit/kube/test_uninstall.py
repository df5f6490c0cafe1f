"""The pre-delete Job: what it deletes, when by force, and what it bears."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ForbiddenError, NotFoundError, TransientError
from taskmill.kube.names import FORCE_DELETE
from taskmill.kube.state import Manifest
from taskmill.kube.uninstall import release_claim, uninstall

pytestmark = pytest.mark.anyio


class Cluster:
    """One TaskQueue that goes after so many looks, or when it is forced to."""

    def __init__(self, looks: int) -> None:
        self.looks, self.calls = looks, list[str]()
        self.stumbles = 0

    async def list(self, kind: k.Kind, namespace: str) -> tuple[list[Manifest], str]:
        assert (namespace, kind.selector.endswith("instance=shop")) == ("jobs", True)
        if kind.kind != "TaskQueue":
            return [], "1"
        self.looks -= 1
        if self.stumbles and self.calls:
            self.stumbles -= 1
            raise TransientError("list", "taskqueues", 503, "", "")
        metadata = {"name": "emails", "namespace": namespace, "uid": "u1"}
        item = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        return ([item] if self.looks > 0 else []), "1"

    async def delete(self, manifest: Manifest) -> None:
        self.calls.append(f"delete {manifest['metadata']['name']}")

    async def merge(self, kind: k.Kind, namespace: str, name: str, body: Manifest) -> Manifest:
        self.calls.append(f"force {name}")
        assert body["metadata"] == {"uid": "u1", "annotations": {FORCE_DELETE: "true"}}
        self.looks = 0
        raise NotFoundError("patch", name, 404, "NotFound", "")  # 恰好这时走了


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "UNINSTALL_POLL_S", 0.0)


async def test_it_waits_though_the_server_is_away_for_a_moment() -> None:
    cluster: Any = Cluster(looks=4)
    cluster.stumbles = 2
    assert await uninstall(cluster, "jobs", "shop", 60, force_s=60)
    assert cluster.calls == ["delete emails"]


async def test_what_takes_too_long_is_forced_and_may_be_gone_by_then() -> None:
    cluster: Any = Cluster(looks=1_000_000)
    assert await uninstall(cluster, "jobs", "shop", 0, force_s=60)
    assert cluster.calls == ["delete emails", "force emails"]


async def test_a_kind_that_is_not_there_any_more_has_nothing_left() -> None:
    class Bare(Cluster):
        async def list(self, kind: k.Kind, namespace: str) -> tuple[list[Manifest], str]:
            raise NotFoundError("list", kind.plural, 404, "NotFound", "the server could not find the requested resource")

    cluster: Any = Bare(looks=0)
    assert await uninstall(cluster, "jobs", "shop", 60)


async def test_what_is_waited_for_is_told_by_name() -> None:
    cluster: Any = Cluster(looks=4)
    told: list[list[str]] = []
    assert await uninstall(cluster, "jobs", "shop", 60, tell=told.append)
    assert told == [["taskqueue/emails"]]


@pytest.mark.parametrize(
    ("holder", "left", "freed"),
    [("jobs/shop-operator", 0, True), ("other/shop-operator", 0, False), ("jobs/shop-operator", 1, False)],
)
async def test_the_claim_of_this_release_is_given_up_when_nothing_is_left(holder: str, left: int, freed: bool) -> None:
    class Claimed(Cluster):
        written: Manifest | None = None

        async def list(self, kind: k.Kind, namespace: str) -> tuple[list[Manifest], str]:
            return [{"kind": kind.kind, "metadata": {"name": "more"}}] * left, "1"

        async def find(self, kind: k.Kind, namespace: str, name: str) -> Manifest | None:
            assert (kind, namespace, name) == (k.LEASE, "jobs", "taskmill-operator-claim")
            return {"metadata": {"namespace": "jobs", "resourceVersion": "5"}, "spec": {"holderIdentity": holder}}

        async def replace(self, manifest: Manifest) -> Manifest:
            self.written = manifest
            return manifest

    cluster: Any = Claimed(looks=0)
    await release_claim(cluster, "jobs", "shop-operator")
    if freed:
        assert (cluster.written["spec"]["holderIdentity"], cluster.written["metadata"]["resourceVersion"]) == ("", "5")
    else:
        assert cluster.written is None


async def test_a_claim_that_cannot_be_given_up_is_no_failure() -> None:
    class Denied(Cluster):
        async def find(self, kind: k.Kind, namespace: str, name: str) -> Manifest | None:
            raise ForbiddenError("get", "leases", 403, "Forbidden", "no")

    cluster: Any = Denied(looks=0)
    await release_claim(cluster, "jobs", "shop-operator")


async def test_what_stays_is_told() -> None:
    class Stubborn(Cluster):
        async def merge(self, kind: k.Kind, namespace: str, name: str, body: Manifest) -> Manifest:
            return body

    cluster: Any = Stubborn(looks=1_000_000)
    assert not await uninstall(cluster, "jobs", "shop", 0, force_s=0)
