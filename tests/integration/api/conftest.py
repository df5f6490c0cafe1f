"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from taskmill.services.platform import Platform
from tests.support import api


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The services, on servers of this test."""
    async with api.opened(database_url, broker_url) as found:
        yield found


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a key that may do everything."""
    async with api.api(platform) as found:
        yield found
