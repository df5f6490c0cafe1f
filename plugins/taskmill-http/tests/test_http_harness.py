"""The plugin as an application meets it: loaded by its name, configured by its variables, asked by a submit."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill import TaskmillError
from taskmill.testing import Harness

pytestmark = pytest.mark.anyio
ENV = {"TASKMILL_PLUGIN_HTTP_ALLOW_PRIVATE": "true"}
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def test_a_busy_server_is_asked_again(raw: Any) -> None:
    async with Harness(plugins=["http"], env=ENV) as harness:
        raw.answer = BUSY
        order = await harness.submit("http.request", {"url": raw.url})
        assert await harness.drain() == 1
        raw.answer = FINE
        assert await harness.drain(future=True) == 1
        assert (await order.result())["body"] == "ok"
        assert len(raw.requests) == 2


async def test_args_that_contradict_each_other_are_discarded_and_wrong_ones_refused() -> None:
    async with Harness(plugins=["http"], env=ENV) as harness:
        with pytest.raises(TaskmillError, match=r"args\.url"):
            await harness.submit("http.request", {"url": 1})
        order = await harness.submit("http.request", {"url": "http://shop.example", "body": "a", "json": 1})
        await harness.drain()
        assert harness.attempts(order.id)[0].message_zh is not None
