"""Queues, scaling, kinds, plugins, workers, overview, probes, metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis.asyncio as redis
from prometheus_client.parser import text_string_to_metric_families

from taskmill import __version__
from taskmill.api.app import create_app
from taskmill.engine.periodic.presence import Presence
from taskmill.ids import new_id
from taskmill.services.constants import STATS_QUEUES_MAX
from taskmill.services.platform import Platform
from taskmill.states import State
from taskmill.stores.schema.chain import CORE
from taskmill.stores.workers.worker import Registration, register
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support import api
from tests.support.api import KIND, data, finish, make_running, refusal
from tests.support.api import client as client_of
from tests.support.databases import execute
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"


async def _submit(client: httpx2.AsyncClient, **fields: object) -> str:
    return str(data(await client.post(TASKS, json={"kind": KIND, **fields}), 201)["id"])


async def test_queues_show_their_live_tasks(client: httpx2.AsyncClient, platform: Platform) -> None:
    for queue, delay in [("b", 0), ("b", 0), ("a", 30), ("b", 999)]:
        await _submit(client, queue=queue, delay_s=delay)
    await make_running(platform, await _submit(client, queue="b"), new_id())
    page = data(await client.get("/api/v1/queues"))
    assert ([queue["name"] for queue in page["items"]], page["total"]) == (["a", "b"], 2)
    queue = data(await client.get("/api/v1/queues/b"))
    assert queue["live"] == {"scheduled": 1, "available": 2, "running": 1, "retryable": 0, "blocked": 0, "held": 0}
    assert not queue["paused"]
    refusal(await client.get("/api/v1/queues/none"), 404, "QUEUE_NOT_FOUND")
    assert [q["name"] for q in data(await client.get("/api/v1/queues?page=2&page_size=1"))["items"]] == ["b"]


async def test_a_queue_is_paused_and_resumed(client: httpx2.AsyncClient) -> None:
    await _submit(client, queue="q")
    first = data(await client.post("/api/v1/queues/q/pause"))
    assert (first["paused"], first["paused_by"]) == (True, "key:tests")
    assert data(await client.post("/api/v1/queues/q/pause"))["paused_at"] == first["paused_at"]
    resumed = data(await client.post("/api/v1/queues/q/resume"))
    assert (resumed["paused"], resumed["paused_at"], resumed["paused_by"]) == (False, None, None)
    for verb in ("pause", "resume"):
        refusal(await client.post(f"/api/v1/queues/none/{verb}"), 404, "QUEUE_NOT_FOUND")


async def test_the_policy_of_a_queue_is_set_before_its_first_task(client: httpx2.AsyncClient) -> None:
    made = data(await client.put("/api/v1/queues/new", json={"paused": True, "retention_s": 60}))
    assert (made["name"], made["paused"], made["paused_by"], made["retention_s"]) == ("new", True, "key:tests", 60)
    kept = data(await client.put("/api/v1/queues/new", json={"retention_s": 0}))
    assert (kept["paused"], kept["paused_at"], kept["retention_s"]) == (True, made["paused_at"], 0)
    assert data(await client.put("/api/v1/queues/new", json={"paused": False}))["retention_s"] == 0
    last = data(await client.put("/api/v1/queues/new", json={"retention_s": None}))
    assert (last["paused"], last["retention_s"]) == (False, None)
    assert data(await client.get("/api/v1/queues/new")) == last
    for body in ({"retention_s": -1}, {"retention_s": 2**40}, {"retention_s": "7d"}, {"paused": None}, {"limit": 3}):
        refusal(await client.put("/api/v1/queues/new", json=body), 422, "INVALID_REQUEST")
    refusal(await client.put("/api/v1/queues/no%7Bname", json={}), 422, "INVALID_REQUEST")


async def test_scaling_numbers_are_never_absent(client: httpx2.AsyncClient, platform: Platform) -> None:
    zeros = {"ready": 0, "runnable": 0, "running": 0, "due_soon": 0, "oldest_wait_s": 0.0}
    oldest = await _submit(client, queue="q")
    await _submit(client, queue="q", delay_s=30)
    await _submit(client, queue="q", delay_s=90)
    await make_running(platform, await _submit(client, queue="q"), new_id())
    await platform.database.pool.execute(
        "update taskmill.tasks set run_at = now() - interval '1 hour' where id = $1::text::uuid", oldest
    )
    found = data(await client.get("/api/v1/scaling/q"))
    assert (found["ready"], found["runnable"], found["running"], found["due_soon"]) == (1, 1, 1, 1)
    assert 3600 <= found["oldest_wait_s"] < 3660
    # 问在后头：一次慢的统计会用上一阵子
    assert data(await client.get("/api/v1/scaling/nobody")) == {"queue": "nobody", **zeros}


async def test_kinds_carry_their_schemas(client: httpx2.AsyncClient) -> None:
    page = data(await client.get("/api/v1/kinds"))
    assert [(kind["kind"], kind["versions"]) for kind in page["items"]] == [(KIND, [1])]
    kind = data(await client.get(f"/api/v1/kinds/{KIND}"))
    assert (kind["plugin"], kind["summary"], kind["executor"]) == ("tests", "Return what it was given.", "async")
    assert "text" in str(kind["args_schema"])
    assert [version["version"] for version in kind["schemas"]] == [1]
    refusal(await client.get("/api/v1/kinds/no.such"), 404, "KIND_NOT_REGISTERED")


async def test_plugins_are_listed(client: httpx2.AsyncClient) -> None:
    page = data(await client.get("/api/v1/plugins"))
    assert (page["items"], page["total"]) == ([], 0)


async def _worker(platform: Platform, lease_s: float, **facts: Any) -> str:
    worker = Registration(
        id=new_id(), hostname="host", pid=7, version=__version__, queues=["default"], kinds=[KIND], concurrency=10
    )
    async with platform.database.pool.acquire() as connection:
        await register(connection, worker, lease_s)
        for name, value in facts.items():
            await connection.execute(f"update taskmill.workers set {name} = {value} where id = $1", worker.id)
    return str(worker.id)


async def test_workers_show_their_state(client: httpx2.AsyncClient, platform: Platform) -> None:
    expected = {
        await _worker(platform, 60): "live",
        await _worker(platform, 60, draining="true"): "draining",
        await _worker(platform, -1): "lost",
        await _worker(platform, 60, dead_at="now()", death="'stopped'"): "stopped",
        await _worker(platform, 60, dead_at="now()", death="'lease expired'"): "dead",
    }
    page = data(await client.get("/api/v1/workers"))
    assert {worker["id"]: worker["state"] for worker in page["items"]} == expected
    assert {item["state"] for item in page["items"][-2:]} == {"stopped", "dead"}
    assert {(w["order"], w["ready"], w["pod"]) for w in page["items"]} == {("run", False, None)}
    assert page["total"] == 5


async def test_the_overview_adds_up(client: httpx2.AsyncClient, platform: Platform) -> None:
    for queue in ("a", "a", "b"):
        await finish(platform, await _submit(client, queue=queue), State.COMPLETED)
    await finish(platform, await _submit(client, queue="b"), State.DISCARDED)
    cancelled = await _submit(client, queue="c")
    data(await client.post(f"{TASKS}/{cancelled}/cancel"))
    await _submit(client, queue="d")
    stats = data(await client.get("/api/v1/stats"))
    finished = {name: stats["finished"][name] for name in ("completed", "cancelled", "discarded")}
    assert finished == {"completed": 3, "cancelled": 1, "discarded": 1}
    assert stats["live"] == {"scheduled": 0, "available": 1, "running": 0, "retryable": 0, "blocked": 0, "held": 0}
    assert [queue["queue"] for queue in stats["queues"]] == ["a", "b", "c", "d"]
    assert stats["queues"][1]["finished"]["discarded"] == 1
    assert stats["queues"][0]["finished"]["mean_run_s"] is not None
    assert stats["workers"] == {"live": 0, "draining": 0, "lost": 0, "stopped": 0, "dead": 0}
    assert stats["schedulers"] == 0
    for query, field in (("minutes=0", "minutes"), ("minutes=1441", "minutes"), ("window=1", "window")):
        assert refusal(await client.get(f"/api/v1/stats?{query}"), 422, "INVALID_REQUEST")["field"] == field


async def test_the_overview_lists_the_fullest_queues_and_counts_all(client: httpx2.AsyncClient, platform: Platform) -> None:
    await _submit(client, queue="z-first")
    await platform.database.pool.execute(
        "insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms)"
        " select gen_random_uuid(), 'q-' || lpad(n::text, 3, '0'), 'x.y', 'available', 2, '{}', 1000"
        " from generate_series(1, $1) n cross join generate_series(1, 2)",
        STATS_QUEUES_MAX,
    )
    stats = data(await client.get("/api/v1/stats"))
    assert (len(stats["queues"]), stats["queues_total"]) == (STATS_QUEUES_MAX, STATS_QUEUES_MAX + 1)
    assert "z-first" not in {queue["queue"] for queue in stats["queues"]}
    assert stats["live"]["available"] == 2 * STATS_QUEUES_MAX + 1


async def test_metrics_count_requests_by_route_and_tasks_by_state(client: httpx2.AsyncClient, platform: Platform) -> None:
    await _submit(client, queue="m")
    await client.get(f"{TASKS}/01890000-0000-7000-8000-000000000000")
    for path in ("/nothing/1", "/nothing/2"):
        await client.get(path)
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["taskmill_http_requests_total", "/api/v1/tasks", "201", "POST"] == 1
    assert samples["taskmill_http_requests_total", "/api/v1/tasks/{task_id}", "404", "GET"] == 1
    assert samples["taskmill_http_requests_total", "404", "GET", "unmatched"] == 2
    assert samples["taskmill_tasks", "available", "m"] == 1
    assert samples["taskmill_tasks_submitted_total", "m"] == 1
    assert samples["taskmill_workers", "live"] == 0


async def test_readiness_names_each_dependency(client: httpx2.AsyncClient) -> None:
    ready = data(await client.get("/readyz"))
    assert (ready["ready"], ready["degraded"], ready["plugins"]) == (True, False, {})
    assert {name: found["ok"] for name, found in ready["dependencies"].items()} == {"postgresql": True, "valkey": True}
    assert all(found["latency_ms"] > 0 for found in ready["dependencies"].values())
    assert ready["migrations"] == {"ok": True, "current": CORE.head(), "head": CORE.head(), "code": None}


async def test_a_plugin_that_was_asked_for_and_is_not_up_degrades_the_api_and_does_not_stop_it(
    client: httpx2.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform.host, "missing", ("ledger", "other"))
    monkeypatch.setattr(platform.host, "asked", frozenset({"ledger"}))
    ready = data(await client.get("/readyz"))
    assert (ready["ready"], ready["degraded"], ready["plugins"]) == (True, True, {"ledger": False})


async def test_readiness_tells_how_many_schedulers_live_and_does_not_depend_on_it(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    presence = Presence(platform.database)
    for change, living in ((None, 0), (presence.run_once, 1), (presence.leave, 0)):
        if change is not None:
            await change()
        ready = data(await client.get("/readyz"))
        assert (ready["ready"], ready["degraded"], ready["schedulers"]) == (True, False, living)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (
            "update taskmill.alembic_version set version_num = '9999'; update taskmill.schema_info set min_reader = '9999'",
            "SCHEMA_AHEAD",
        ),
        ("delete from taskmill.alembic_version", "SCHEMA_BEHIND"),
        ("drop schema taskmill cascade", "SCHEMA_BEHIND"),
    ],
)
async def test_a_schema_that_does_not_fit_is_not_ready(
    database_url: str, client: httpx2.AsyncClient, statement: str, code: str
) -> None:
    await execute(database_url, statement)
    details = refusal(await client.get("/readyz"), 503, code)
    assert details["readiness"]["migrations"]["code"] == code
    assert details["readiness"]["dependencies"]["postgresql"]["ok"]
    assert details["readiness"]["schedulers"] == (None if "drop" in statement else 0)
    if "drop" in statement:
        refusal(await client.get(TASKS), 503, "SCHEMA_BEHIND")
        refusal(await client.get(f"{TASKS}/01890000-0000-7000-8000-000000000000"), 503, "SCHEMA_BEHIND")


async def test_a_database_that_is_away_answers_503_everywhere(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres()
    async with api.opened(server.url, broker_url) as platform, api.api(platform) as client:
        task_id = await _submit(client)
        server.kill()
        for method, path in [
            ("GET", TASKS),
            ("GET", f"{TASKS}/{task_id}"),
            ("GET", f"{TASKS}/{task_id}/attempts"),
            ("GET", f"{TASKS}/{task_id}/result"),
            ("POST", f"{TASKS}/{task_id}/cancel"),
            ("POST", f"{TASKS}/{task_id}/retry"),
            ("GET", "/api/v1/queues"),
            ("POST", "/api/v1/queues/default/pause"),
            ("GET", "/api/v1/scaling/default"),
            ("GET", "/api/v1/kinds"),
            ("GET", "/api/v1/workers"),
            ("GET", "/api/v1/stats"),
            ("GET", "/readyz"),
        ]:
            refusal(await client.request(method, path), 503, "DATABASE_UNAVAILABLE")
        refusal(await client.post(TASKS, json={"kind": KIND}), 503, "DATABASE_UNAVAILABLE")
        async with client_of(create_app(platform), "tmk_" + "n" * 43) as stranger:
            refusal(await stranger.get(TASKS), 503, "DATABASE_UNAVAILABLE")
        assert (await client.get("/healthz")).status_code == 200
        metrics = (await client.get("/metrics")).text
        assert "taskmill_http_requests_total{" in metrics
        assert "taskmill_tasks{" not in metrics
        server.restart()
        assert data(await client.get(f"{TASKS}/{task_id}"))["id"] == task_id
        assert data(await client.get("/readyz"))["ready"]


async def test_without_valkey_tasks_are_accepted_and_readiness_says_degraded(
    database_url: str, own_valkey: ValkeyFactory
) -> None:
    server = own_valkey()
    async with api.opened(database_url, server.url) as platform, api.api(platform) as client:
        server.stop()
        ready = data(await client.get("/readyz"))
        assert (ready["ready"], ready["degraded"]) == (True, True)
        assert ready["dependencies"]["valkey"]["code"] == "BROKER_UNAVAILABLE"
        task_id = await _submit(client)
        await make_running(platform, task_id, new_id())
        assert data(await client.post(f"{TASKS}/{task_id}/cancel"))["cancel_requested"]


@pytest.mark.parametrize(
    ("command", "said"),
    [(("REPLICAOF", "127.0.0.1", "1"), "replica"), (("CONFIG", "SET", "maxmemory", "1"), "maxmemory")],
    ids=["demoted", "full"],
)
async def test_a_valkey_that_takes_no_writes_degrades_readiness(
    database_url: str, own_valkey: ValkeyFactory, command: tuple[str, ...], said: str
) -> None:
    server = own_valkey()
    async with api.opened(database_url, server.url) as platform, api.api(platform) as client:
        assert data(await client.get("/readyz"))["degraded"] is False
        async with redis.Redis.from_url(server.url) as admin:
            await admin.execute_command(*command)
        ready = data(await client.get("/readyz"))
        assert (ready["ready"], ready["degraded"]) == (True, True)
        assert said in ready["dependencies"]["valkey"]["detail"]


async def test_a_database_that_takes_no_writes_is_not_ready(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres()
    async with api.opened(server.url, broker_url) as platform, api.api(platform) as client:
        assert data(await client.get("/readyz"))["ready"]
        await execute(server.url, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")

        async def unready() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await eventually(unready)
        before = asyncio.all_tasks()
        details = refusal(await client.get("/readyz"), 503, "DATABASE_UNAVAILABLE")
        left = [task for task in asyncio.all_tasks() - before if "expire_connections" not in repr(task)]
        assert left == []  # nobody goes on connecting when the answer is out
        assert "takes no writes" in details["readiness"]["dependencies"]["postgresql"]["detail"]


async def test_a_frozen_database_is_answered_within_the_time_limit(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres()
    async with api.opened(server.url, broker_url) as platform, api.api(platform) as client:
        data(await client.get("/readyz"))
        server.pause()
        try:
            refusal(await client.get("/readyz"), 503, "DATABASE_UNAVAILABLE")
        finally:
            server.resume()


async def test_the_page_of_the_description_stays_on_this_host(client: httpx2.AsyncClient) -> None:
    page = await client.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    for path in (
        "/schema/static/schema.js",
        "/schema/static/swagger-ui/swagger-ui-bundle.js",
        "/schema/static/swagger-ui/swagger-ui.css",
    ):
        assert path in page.text
        answer = await client.get(path)
        assert (answer.status_code, bool(answer.content)) == (200, True)
    document = (await client.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")


def test_vendored_files_are_what_the_lock_says() -> None:
    import hashlib
    import json

    root = Path(__file__).parents[3] / "platform" / "taskmill" / "api" / "static"
    [package] = json.loads((root / "vendor.lock").read_text())["packages"]
    assert {"name", "version", "licence", "files"} <= set(package)
    found = {str(path.relative_to(root)) for path in (root / "swagger-ui").iterdir()}
    assert found == set(package["files"])
    for name, digest in package["files"].items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest, name
