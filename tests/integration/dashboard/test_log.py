"""Every request for a page is one line of the access log, without what logs somebody in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from taskmill.api.app import create_app, one_time_link
from taskmill.dashboard import constants as dc
from taskmill.log import ACCESS_LOGGER, configure_logging
from taskmill.services.access import new_dev_token
from taskmill.services.platform import Platform
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    configure_logging(level="ERROR")
    found: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.msg)  # type: ignore[method-assign,arg-type]
    logger = logging.getLogger(ACCESS_LOGGER)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


async def test_one_line_each_and_no_secret(platform: Platform, lines: list[dict[str, Any]]) -> None:
    app = create_app(platform, dev_token=new_dev_token(), beside_keys=True)
    key = await platform.keys.create("ops")
    found = Visitor(app)
    link = one_time_link(app, "http://h")
    assert link is not None
    token = link.rpartition("=")[2]
    for step in (
        found.get(f"login?token={token}"),
        found.login(key.secret),
        found.get("tasks"),
        found.post("queues/x/pause"),
    ):
        lines.clear()
        await step
        assert lines
        told = str(lines)
        for secret in (token, key.secret, found.csrf, found.client.cookies.get(dc.COOKIE)):
            assert not secret or secret not in told
    assert lines[-1]["user_id"] == "key:ops"
    assert lines[-1]["status"] == 404
    lines.clear()
    await found.get("tasks")
    assert lines[-1]["response_body"] == "<text/html>"
