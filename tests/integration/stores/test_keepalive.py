"""Every connection lets the kernel notice a peer that is gone: keepalives, and a limit for what is not acknowledged."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from taskmill import constants as c
from taskmill.ids import new_id
from taskmill.stores import constants as sc
from taskmill.stores import wire
from taskmill.stores.broker import link
from taskmill.stores.database import Database
from taskmill.stores.workers.worker import LeaseConnection, Report

pytestmark = pytest.mark.anyio


def kept_alive(sock: Any) -> tuple[bool, int]:
    return (
        bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )


ALIVE = (True, sc.TCP_USER_TIMEOUT_MS)


def _socket(connection: Any) -> Any:
    return connection._transport.get_extra_info("socket")  # asyncpg 没有别的门


async def test_connections_of_both_pools(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    try:
        async with database.pool.acquire() as hot:
            assert kept_alive(_socket(hot)) == ALIVE
        async with database.engine.connect() as orm:
            raw = await orm.get_raw_connection()
            assert kept_alive(_socket(raw.driver_connection)) == ALIVE
    finally:
        await database.close()


async def test_a_connection_outside_of_pools_and_that_of_a_lease(database_url: str) -> None:
    plain = await wire.connect(database_url, command_timeout_s=c.COMMAND_TIMEOUT_S)
    lease = LeaseConnection(database_url, new_id(), c.LEASE_S)
    try:
        await lease.renew(Report())
        assert [kept_alive(_socket(each)) for each in (plain, lease._connection)] == [ALIVE, ALIVE]
    finally:
        lease.close()
        await plain.close()


async def test_connections_to_valkey(broker_url: str) -> None:
    client = link.client(broker_url)
    connection = await client.connection_pool.get_connection()
    try:
        await connection.connect()
        assert kept_alive(connection._writer.get_extra_info("socket")) == ALIVE
    finally:
        await connection.disconnect()
        await client.aclose()
