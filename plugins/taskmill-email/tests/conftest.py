"""The servers that this plugin's tests talk to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from taskmill_email.config import EmailConfig


class Mailbox:
    """Keeps what arrives and answers as the test says."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.answers: dict[str, str] = {}
        self.data_answer = "250 taken"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return self.data_answer

    def message(self) -> Any:
        return message_from_bytes(self.envelopes[-1].content, policy=policy.default)


class FreePort(Controller):
    """A controller on whatever port is free, that leaves no connection behind."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.protocols: list[Any] = []
        super().__init__(*args, **options)

    def factory(self) -> Any:
        self.protocols.append(super().factory())
        return self.protocols[-1]

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    def shut_down(self) -> None:
        async def abort() -> None:
            for protocol in self.protocols:
                if protocol.transport is not None:
                    protocol.transport.abort()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(abort(), self.loop).result(10)
        self.stop()


@pytest.fixture
def mailbox() -> Mailbox:
    """What the server took."""
    return Mailbox()


@pytest.fixture
def start(mailbox: Mailbox) -> Iterator[Callable[..., EmailConfig]]:
    """Starts a server for the mailbox; returns the configuration to reach it."""
    with ExitStack() as stack:

        def run(config: dict[str, Any] | None = None, **options: Any) -> EmailConfig:
            controller = FreePort(mailbox, hostname="127.0.0.1", port=0, **options)
            controller.start()
            stack.callback(controller.shut_down)
            facts: dict[str, Any] = {
                "host": "127.0.0.1",
                "port": controller.port,
                "tls": "none",
                "sender": "Mill <mill@sender.example>",
            }
            return EmailConfig(**{**facts, **(config or {})})

        yield run
