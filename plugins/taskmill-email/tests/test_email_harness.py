"""The plugin as an application meets it: loaded by its name, configured by its variables, asked by a submit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskmill.testing import Harness
from taskmill_email.config import EmailConfig

pytestmark = pytest.mark.anyio


async def test_a_mail_is_sent_once_its_server_takes_it(start: Callable[..., EmailConfig], mailbox: Any) -> None:
    config = start()
    env = {
        "TASKMILL_PLUGIN_EMAIL_HOST": config.host,
        "TASKMILL_PLUGIN_EMAIL_PORT": str(config.port),
        "TASKMILL_PLUGIN_EMAIL_TLS": "none",
        "TASKMILL_PLUGIN_EMAIL_SENDER": "Mill <mill@sender.example>",
    }
    async with Harness(plugins=["email"], env=env) as harness:
        mailbox.data_answer = "451 later"
        order = await harness.submit("email.send", {"to": ["ada@x.example"], "subject": "Hi", "text": "Hello"})
        assert await harness.drain() == 1
        mailbox.data_answer = "250 taken"
        assert await harness.drain(future=True) == 1
        assert (await order.result())["accepted"] == ["ada@x.example"]
        assert mailbox.message()["Subject"] == "Hi"
