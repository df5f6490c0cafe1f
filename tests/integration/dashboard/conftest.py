"""Fixtures of the dashboard's tests: services on servers of the test, the application, and somebody who may do everything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from litestar import Litestar

from taskmill.api.app import create_app
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.dashboard import Visitor, visitor


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with api.opened(database_url, broker_url) as found:
        yield found


@pytest.fixture
def app(platform: Platform) -> Litestar:
    return create_app(platform)


@pytest.fixture
async def me(platform: Platform, app: Litestar) -> AsyncIterator[Visitor]:
    found = await visitor(platform, app)
    yield found
    await found.client.aclose()


@pytest.fixture
async def reader(platform: Platform, app: Litestar) -> AsyncIterator[Visitor]:
    found = await visitor(platform, app, "read")
    yield found
    await found.client.aclose()
