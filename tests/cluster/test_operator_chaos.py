"""Faults around the operator: the API server, other operators, other hands, the database. Whatever it is, the status is
right within 30 s of its end. The queues here are idle; faults under load are in test_operator_{faults,scale_in}.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from taskmill.dev.servers import PostgresServer
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.stores.constants import MIGRATION_LOCK_KEY
from tests.cluster.fault_proxy import FaultProxy, breathe, writes
from tests.cluster.kubelet.api import ApiError, Json
from tests.cluster.operator_support import OperatorProcess, QueueSpace, Started, reason_of
from tests.cluster.plane import ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
QUEUE = "emails"
RIGHT_S = 30.0
SKIP = {"policy": "Skip"}


@pytest.fixture
async def proxy(kubeconfig: Path) -> AsyncIterator[FaultProxy]:
    """A proxy before the API server."""
    async with FaultProxy(kubeconfig) as started:
        yield started


async def settled(space: QueueSpace, proxy: FaultProxy) -> None:
    """Make an idle queue and wait until the operator is at rest: what just begins would outlive a cut."""
    await idle(space)
    paths = [kind.path(space.namespace) for kind in k.WATCHED]
    await eventually(lambda: proxy.settled(paths), why="all kinds are watched and listed")


async def idle(space: QueueSpace, name: str = QUEUE, **spec: Any) -> Json:
    """Make a queue without tasks and wait until it is as desired."""
    await space.queue(name, **{"migration": SKIP, **spec})
    return await space.condition(name, "Ready", "AsDesired", timeout=60)


async def changed(space: QueueSpace, name: str, spec: Json) -> Json:
    """Change the spec, as often as the API server, that has just come back, wants to be asked."""

    async def once() -> Json | None:
        try:
            return await space.change("TaskQueue", name, spec=spec)
        except (ApiError, aiohttp.ClientError, TimeoutError):
            return None

    found = await eventually(once, timeout=RIGHT_S, poll=0.2, why="a change of the spec")
    assert found is not None
    return found


async def right_again(space: QueueSpace, fault: str, name: str = QUEUE) -> float:
    """Change the spec and return the seconds until the status tells of it."""
    begin = time.monotonic()
    for policy, reason in (("Hold", "Suspended"), ("None", "AsDesired")):
        generation = (await changed(space, name, {"stopPolicy": policy}))["metadata"]["generation"]

        def told(queue: Json, reason: str = reason, generation: int = generation) -> bool:
            return reason_of(queue, "Ready") == reason and queue["status"]["observedGeneration"] == generation

        await space.until("TaskQueue", name, told, timeout=RIGHT_S, why=f"{fault}: {reason}")
    took = time.monotonic() - begin
    print(f"\n{fault}: right again after {took:.1f} s")  # noqa: T201 - 量出来的数
    return took


async def paused(space: QueueSpace, operators: Started, plane: ControlPlane, seconds: float) -> None:
    await operators().leads()
    await idle(space)
    plane.api.pause()
    try:
        await breathe(seconds)
    finally:
        plane.api.resume()
    await right_again(space, f"API server frozen for {seconds:.0f} s")


async def test_the_api_server_hangs_for_ten_seconds(bare: QueueSpace, operators: Started, plane: ControlPlane) -> None:
    await paused(bare, operators, plane, 10)


@pytest.mark.slow
async def test_the_api_server_hangs_for_thirty_seconds(bare: QueueSpace, operators: Started, plane: ControlPlane) -> None:
    await paused(bare, operators, plane, 30)


async def test_the_api_server_is_killed(bare: QueueSpace, operators: Started, plane: ControlPlane) -> None:
    operator = operators()
    await operator.leads()
    await idle(bare)
    plane.api.kill()
    plane.api.start()
    try:
        await right_again(bare, "API server killed and started again")
    finally:
        plane.controllers.restart()  # 它们自己要等上半分钟，别的测试等不起


async def test_watches_that_break_miss_nothing(
    bare: QueueSpace, operators: Callable[..., OperatorProcess], proxy: FaultProxy, through: Callable[[], OperatorProcess]
) -> None:
    await through().leads()
    await settled(bare, proxy)
    proxy.blind = True
    proxy.cut()
    await bare.change("TaskQueue", QUEUE, spec={"stopPolicy": "Hold"})
    await breathe(3)
    proxy.blind = False
    begin = time.monotonic()
    await bare.condition(QUEUE, "Ready", "Suspended", timeout=RIGHT_S)
    print(f"\nwatches cut, none for 3 s: change seen {time.monotonic() - begin:.1f} s after")  # noqa: T201
    await right_again(bare, "watches cut")


@pytest.mark.parametrize("as_event", [False, True], ids=["answer", "event"])
async def test_what_went_while_the_watch_lost_its_place_is_made_again(
    bare: QueueSpace, proxy: FaultProxy, through: Callable[[], OperatorProcess], as_event: bool
) -> None:
    operator = through()
    await operator.leads()
    await settled(bare, proxy)
    proxy.blind = True
    proxy.cut()
    deployment = await bare.find("Deployment", names.workload(QUEUE))
    assert deployment is not None
    await bare.delete("Deployment", names.workload(QUEUE))
    await bare.until_gone("Deployment", names.workload(QUEUE))
    proxy.lose_place(as_event=as_event)
    proxy.blind = False
    begin = time.monotonic()
    await bare.until(
        "Deployment",
        names.workload(QUEUE),
        lambda new: new["metadata"]["uid"] != deployment["metadata"]["uid"],
        timeout=RIGHT_S,
    )
    print(f"\n410 Gone ({as_event=}), a Deployment deleted meanwhile: made again after {time.monotonic() - begin:.1f} s")  # noqa: T201
    assert proxy.seen[410] > 0
    await right_again(bare, "410 Gone")
    assert operator.stop() == 0


async def test_refusals_are_repeated_and_no_condition_tells_of_them(
    bare: QueueSpace, proxy: FaultProxy, through: Callable[[], OperatorProcess]
) -> None:
    await through().leads()
    for status in (429, 409, 500, 503):
        proxy.refuse(status, 1, writes)
    begin = time.monotonic()
    await bare.queue(QUEUE, migration=SKIP)

    def as_desired(queue: Json) -> bool:
        assert reason_of(queue, "Ready") not in {"InvalidSpec", "Forbidden", "InternalError"}
        return reason_of(queue, "Ready") == "AsDesired"

    await bare.until("TaskQueue", QUEUE, as_desired, timeout=RIGHT_S)
    print(f"\nrefused writes in a row: as desired after {time.monotonic() - begin:.1f} s, {dict(proxy.seen)}")  # noqa: T201
    assert proxy.seen.total() == 4


async def test_of_two_operators_one_acts_and_the_other_takes_over(
    bare: QueueSpace, tmp_path: Path, plane: ControlPlane
) -> None:
    replicas: list[OperatorProcess] = []
    for name in ("left", "right"):
        kubeconfig = plane.user_kubeconfig(f"operator-{name}", "system:masters")
        replicas.append(OperatorProcess(tmp_path, kubeconfig, bare.namespace, pod=name))
    left, right = replicas
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{bare.namespace}/leases/taskmill-operator"

    def acts(name: str, since: int) -> int:
        lines = plane.audit.lines(since, user=f"operator-{name}", namespace=bare.namespace)
        return sum(line.verb in {"create", "patch", "update", "delete"} and line.resource != "leases" for line in lines)

    try:
        mark = plane.audit.mark()
        await left.start().leads()
        right.start()
        await eventually(lambda: "缓存已就绪" in right.text, timeout=60, poll=0.1)
        await idle(bare)
        token = (await bare.api.get(lease))["spec"]["leaseTransitions"]
        assert acts("left", mark) > 0
        assert acts("right", mark) == 0
        begin, mark = time.monotonic(), plane.audit.mark()
        left.kill()
        await eventually(lambda: "开始对账" in right.text, timeout=RIGHT_S, poll=0.05, why="the other leads")
        print(f"\nleader killed: the other leads after {time.monotonic() - begin:.1f} s")  # noqa: T201
        spec = (await bare.api.get(lease))["spec"]
        assert spec["holderIdentity"] == "right"
        assert spec["leaseTransitions"] > token
        await right_again(bare, "after the change of leaders")
        left.start()
        await eventually(lambda: left.text.count("缓存已就绪") == 2, timeout=60, poll=0.1)
        await right_again(bare, "old leader back")
        assert acts("left", mark) == 0
    finally:
        for each in replicas:
            with suppress(AssertionError):
                each.kill()


async def test_a_secret_that_goes_and_comes_back_harms_no_worker(
    bare: QueueSpace, operators: Started, database_url: str
) -> None:
    await operators().leads()
    await idle(bare)
    before = await bare.find("Deployment", names.workload(QUEUE))
    begin = time.monotonic()
    await bare.delete("Secret", "database")
    await bare.condition(QUEUE, "Ready", "ConnectionSecretMissing", timeout=RIGHT_S)
    print(f"\nSecret deleted: told after {time.monotonic() - begin:.1f} s")  # noqa: T201
    during = await bare.find("Deployment", names.workload(QUEUE))
    assert before is not None
    assert during is not None
    assert during["metadata"]["generation"] == before["metadata"]["generation"]  # 缺着的时候什么都不动
    begin = time.monotonic()
    await bare.secret("database", database_url)
    await bare.condition(QUEUE, "Ready", "AsDesired", timeout=RIGHT_S)
    print(f"\nSecret restored: right again after {time.monotonic() - begin:.1f} s")  # noqa: T201
    after = await bare.find("Deployment", names.workload(QUEUE))
    assert after is not None
    # 重建的 Secret 有新的 uid，模板里的散列随之变；Deployment 还是那一个
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_name_that_somebody_else_has_is_not_taken_over(bare: QueueSpace, operators: Started) -> None:
    await operators().leads()
    theirs = names.workload(QUEUE)
    await bare.make("ServiceAccount", theirs)
    await bare.queue(QUEUE, migration=SKIP)
    await bare.condition(QUEUE, "Ready", "ObjectNameTaken")
    (event,) = await eventually(lambda: bare.events("ObjectNameTaken"), why="the event that follows the condition")
    assert theirs in event["note"]
    left = await bare.find("ServiceAccount", theirs)
    assert left is not None
    assert left["metadata"].keys().isdisjoint({"labels", "ownerReferences", "annotations"})
    assert await bare.find("Deployment", theirs) is None
    begin = time.monotonic()
    await bare.delete("ServiceAccount", theirs)
    await bare.condition(QUEUE, "Ready", "AsDesired", timeout=RIGHT_S)
    print(f"\nname free again: right after {time.monotonic() - begin:.1f} s")  # noqa: T201


async def test_deleted_during_its_migration_it_leaves_nothing_and_a_new_one_starts_alone(
    bare: QueueSpace, operators: Started, database_url: str
) -> None:
    await operators().leads()
    holder = await asyncpg.connect(database_url)
    try:
        # 别人正在迁移：Job 等着它，删的时候、重建之后都还在跑，不会趁删的当口做完
        await holder.execute("select pg_advisory_lock($1)", MIGRATION_LOCK_KEY)
        await bare.queue(QUEUE, migration={"policy": "Auto"})
        await bare.condition(QUEUE, "Migrated", "JobRunning")
        (job,) = await bare.list("Job")
        begin = time.monotonic()
        await bare.delete("TaskQueue", QUEUE)
        await bare.until_gone("TaskQueue", QUEUE, timeout=RIGHT_S)
        # 收走 Job 的是 Kubernetes 的垃圾回收；它每 30 秒才认一次新装的 CRD，认得之前要等
        await bare.until_gone("Job", job["metadata"]["name"], timeout=120)
        print(f"\ndeleted during the migration: gone with its Job after {time.monotonic() - begin:.1f} s")  # noqa: T201
        await bare.queue(QUEUE, migration={"policy": "Auto"})
        # 先前的 pod 有 30 秒收尾；机器忙的时候，新的要等到那之后
        await bare.condition(QUEUE, "Migrated", "JobRunning", timeout=120)

        async def anew() -> list[Json]:
            found = [each["metadata"] for each in await bare.list("Job")]
            return [each for each in found if not each.get("deletionTimestamp") and each["uid"] != job["metadata"]["uid"]]

        # 回收得快时，控制器的缓存里还有先前的那个，条件说的也许是它
        assert len(await eventually(anew, poll=0.2, why="a Job of its own")) == 1
    finally:
        await holder.close()


async def test_an_edit_war_is_no_storm_of_writes(bare: QueueSpace, operators: Started, plane: ControlPlane) -> None:
    await operators().leads()
    await idle(bare)
    path = bare.path("Deployment", names.workload(QUEUE))
    mark, edits, end = plane.audit.mark(), 0, time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(ApiError):
            await bare.api.patch(path, {"spec": {"template": {"spec": {"enableServiceLinks": bool(edits % 2 == 0)}}}})
            edits += 1
        await breathe(0.2)
    await bare.until(
        "Deployment", names.workload(QUEUE), lambda d: d["spec"]["template"]["spec"]["enableServiceLinks"] is False
    )
    lines = list(plane.audit.lines(mark, namespace=bare.namespace, verb="patch", resource="deployments"))
    ours = [line for line in lines if "fieldManager=taskmill-controller" in line.raw["requestURI"]]
    events = await bare.events("DriftCorrected")
    notes = [event["series"]["count"] if event.get("series") else 1 for event in events]
    print(f"\nedit war: {edits} edits, {len(ours)} corrections, events {notes}")  # noqa: T201
    assert 1 <= len(ours) <= 6
    assert len(events) <= 2
    await right_again(bare, "edit war")


async def test_a_database_that_is_away_is_told_and_scales_nothing_down(
    bare: QueueSpace, operators: Started, own_postgres: Callable[..., PostgresServer]
) -> None:
    server = own_postgres()
    await bare.secret("database", server.url)
    await operators().leads()
    await bare.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 2})
    await bare.until("Deployment", names.workload(QUEUE), lambda d: d["spec"]["replicas"] == 2, timeout=60)
    begin = time.monotonic()
    server.kill()
    await bare.condition(QUEUE, "Ready", "DatabaseUnreachable", timeout=RIGHT_S)
    told = time.monotonic() - begin
    deployment = await bare.find("Deployment", names.workload(QUEUE))
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 2
    server.start()
    begin = time.monotonic()
    await bare.until("TaskQueue", QUEUE, lambda q: reason_of(q, "Ready") != "DatabaseUnreachable", timeout=RIGHT_S)
    print(f"\nPostgreSQL killed: told after {told:.1f} s; back: right after {time.monotonic() - begin:.1f} s")  # noqa: T201


@pytest.fixture
def through(proxy: FaultProxy, bare: QueueSpace, tmp_path: Path) -> Any:
    """`through()`: an operator behind the proxy."""
    started: list[OperatorProcess] = []

    def start() -> OperatorProcess:
        kubeconfig = proxy.kubeconfig(tmp_path / "proxy.kubeconfig")
        started.append(OperatorProcess(tmp_path, kubeconfig, bare.namespace).start())
        return started[-1]

    yield start
    for each in started:
        each.kill()
