"""A login that PostgreSQL refuses: for how long it counts as refused, and when the probes ask for a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import asyncpg
import pytest

from taskmill.api.probes import ProbeApp
from taskmill.clock import FakeClock
from taskmill.constants import LOGIN_REFUSED_S
from taskmill.engine.periodic.scheduler import SchedulerHealth
from taskmill.services.platform import Platform
from taskmill.serving.connections import Connections
from taskmill.serving.endpoint import Endpoint
from taskmill.serving.limits import Limits
from taskmill.stores.login import Login
from tests.conftest import PostgresFactory
from tests.support.databases import execute
from tests.support.platforms import opened
from tests.support.roles import as_role, temporary_role
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

TAKEN = {
    "password rotated": "alter role {role} password 'new'",
    "no login": "alter role {role} nologin",
    "out of date": "alter role {role} valid until 'yesterday'",
}
GIVEN = "alter role {role} login password 'secret' valid until 'infinity'"
ENDED = "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
T, F = True, False  # 登录成功、被拒


@pytest.fixture
def role(database_url: str) -> Iterator[str]:
    grants = ("grant all on schema taskmill to {role}", "grant all on all tables in schema taskmill to {role}")
    with temporary_role(database_url, *grants) as made:
        yield made


@pytest.mark.parametrize(
    ("taken", "tries", "refused_s"),
    [
        ("password rotated", [], 0),
        ("password rotated", [(0, T), (500, T)], 0),
        ("password rotated", [(0, F)], 0),
        ("password rotated", [(0, T), (10, F), (500, None)], 0),  # 再没有人试过：也许早就好了
        ("no login", [(0, F), (7, F)], 7),
        ("out of date", [(0, F), (7, F), (500, None)], 7),
        ("password rotated", [(0, T), (10, F), (40, F), (71, F)], 61),
        ("password rotated", [(0, F), (80, F), (81, T)], 0),
        ("password rotated", [(0, F), (80, F), (81, T), (90, F), (95, F)], 5),
    ],
)
async def test_a_login_is_refused_from_its_first_refusal_to_its_last(
    database_url: str, role: str, taken: str, tries: list[tuple[float, bool | None]], refused_s: float
) -> None:
    clock, begin = FakeClock(), FakeClock().monotonic()
    login, lets_in = Login(clock), True
    for at, good in tries:
        clock.advance(begin + at - clock.monotonic())
        if good is None:
            continue
        if good is not lets_in:
            await execute(database_url, (GIVEN if good else TAKEN[taken]).format(role=role))
            lets_in = good
        try:
            connection = await login.connect(as_role(database_url, role))
        except asyncpg.InvalidAuthorizationSpecificationError:
            assert not good
        else:
            assert good, "this server asks for no password"
            await connection.close()
    assert login.refused_s == refused_s


async def test_a_server_that_is_away_is_no_refused_login(own_postgres: PostgresFactory) -> None:
    server, clock = own_postgres(migrated=False), FakeClock()
    server.kill()
    login = Login(clock)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await login.connect(server.url)
        clock.advance(LOGIN_REFUSED_S + 1)
    assert login.refused_s == 0


def of_the_api(platform: Platform) -> Endpoint:
    return ProbeApp(platform.health, Connections(Limits()), asyncio.Event())


def of_a_scheduler(platform: Platform) -> Endpoint:
    return SchedulerHealth([], refused_s=lambda: platform.database.login.refused_s)


@pytest.mark.parametrize("probes", [of_the_api, of_a_scheduler])
async def test_a_role_whose_password_was_rotated_asks_to_be_started_anew(
    database_url: str, broker_url: str, role: str, probes: Callable[[Platform], Endpoint]
) -> None:
    async with opened(as_role(database_url, role), broker_url) as platform:
        app, clock = probes(platform), FakeClock()
        platform.database.login.clock = clock

        async def refused() -> bool:
            wrong = (await platform.health.readiness())[1]
            return wrong is not None and "authentication failed" in wrong.message()["en"]

        async def welcome() -> bool:
            return (await platform.health.readiness())[1] is None

        async def live() -> tuple[int, bytes]:
            return await app.respond("/healthz")

        await execute(database_url, TAKEN["password rotated"].format(role=role))
        await execute(database_url, ENDED.format(role=role))
        await eventually(refused)
        clock.advance(LOGIN_REFUSED_S + 1)
        assert await live() == (200, b"ok\n"), "one refusal is not enough, however long ago"
        await eventually(refused)
        assert await live() == (503, b"login refused: 61 s\n")
        await execute(database_url, GIVEN.format(role=role))
        await eventually(welcome)
        assert await live() == (200, b"ok\n")
