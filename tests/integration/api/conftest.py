"""Fixtures of the API's tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from taskmill.log import ACCESS_LOGGER, configure_logging
from taskmill.services.platform import Platform
from tests.support import api


class Lines(logging.Handler):
    """Collects the structured lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        assert isinstance(record.msg, dict)
        self.lines.append(record.msg)


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The lines of the access log, as they reach the handlers."""
    configure_logging(level="ERROR")
    handler, logger = Lines(), logging.getLogger(ACCESS_LOGGER)
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


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
