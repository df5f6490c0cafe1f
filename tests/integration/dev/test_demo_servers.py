"""The demo's own servers really speak HTTP and SMTP."""

from __future__ import annotations

import asyncio
import smtplib

import httpx2
import pytest

from taskmill.dev.demo_servers import RETRY_AFTER_S, demo_servers
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_http_greets_and_refuses_once() -> None:
    async with demo_servers(asyncio.get_running_loop()) as servers, httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{servers.http_url}/hello")).json() == {"hello": "taskmill", "method": "POST"}
        refused = await client.get(f"{servers.http_url}/flaky")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, str(RETRY_AFTER_S))
        assert (await client.get(f"{servers.http_url}/flaky")).status_code == 200


async def test_a_mail_arrives() -> None:
    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@taskmill.example", ["b@taskmill.example"], "Subject: hi\r\n\r\nhello")

    async with demo_servers(asyncio.get_running_loop()) as servers:
        await asyncio.to_thread(send, servers.smtp_port)
        await eventually(lambda: servers.mails, why="the mail")
        assert "hello" in servers.mails[0]


async def test_both_are_gone_afterwards() -> None:
    async with demo_servers(asyncio.get_running_loop()) as servers:
        url, port = servers.http_url, servers.smtp_port
    async with httpx2.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(url)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(smtplib.SMTP, "127.0.0.1", port)
