"""Connections to Valkey that break: what the driver's loop says of them is an error of the broker, whichever loop it is."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as BrokerConnectionError

from taskmill.stores.broker.tickets import BROKER_AWAY, Tickets

pytestmark = pytest.mark.anyio


async def test_a_command_on_a_connection_that_was_just_cut_is_an_error_of_the_broker(broker_url: str) -> None:
    tickets = Tickets(broker_url)
    pool = tickets.redis.connection_pool
    connection = await pool.get_connection()
    try:
        connection._writer.transport.abort()
        with pytest.raises(BrokerConnectionError, match="closed") as caught:
            await connection.send_command("PING")
        assert isinstance(caught.value, BROKER_AWAY)
        assert not connection.is_connected
        await connection.send_command("PING")
        assert await connection.read_response() in {b"PONG", "PONG"}
    finally:
        await pool.release(connection)
        await tickets.close()
