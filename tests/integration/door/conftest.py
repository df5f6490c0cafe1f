"""A platform at work in the test's event loop, and doors to it as an application has them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import taskmill.sync
from taskmill import Taskmill
from taskmill.services.platform import Platform
from tests.support.door_kinds import KINDS
from tests.support.engines import platform_of, staged, worker_on


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The platform's servers with the kinds of the tests; nobody runs a task."""
    async with platform_of(database_url, broker_url, *KINDS) as made:
        yield made


@pytest.fixture
async def at_work(platform: Platform) -> AsyncIterator[Platform]:
    """The same with a worker and a stager."""
    async with staged(platform), worker_on(platform):
        yield platform


@pytest.fixture
async def tm(platform: Platform, database_url: str, broker_url: str) -> AsyncIterator[Taskmill]:
    """A door."""
    async with Taskmill(database_url=database_url, broker_url=broker_url) as door:
        yield door


@pytest.fixture
def blocking(platform: Platform, database_url: str, broker_url: str) -> taskmill.sync.Taskmill:
    """A blocking door, to be opened in another thread than the platform's."""
    return taskmill.sync.Taskmill(database_url=database_url, broker_url=broker_url)
