"""The images of `make test/image`, which starts the engine and builds them first; without it nothing here is collected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import randrange

import pytest

from tests.image.engine import MARK, Docker
from tests.image.roles import Roles

collect_ignore_glob = [] if MARK in os.environ else ["test_*.py"]
UIDS = (100_000, 2**31)  # OpenShift 之类的集群从这样的范围里随便给一个


@pytest.fixture(scope="session")
def docker() -> Docker:
    """The command line of the engine."""
    return Docker(Path(os.environ[MARK]))


@pytest.fixture(params=["its own user", "any user"])
def roles(docker: Docker, empty_database_url: str, broker_url: str, request: pytest.FixtureRequest) -> Iterator[Roles]:
    """The roles as containers on the servers of this process, by the user of the image or by one that it does not know."""
    user = 0 if request.param == "its own user" else randrange(*UIDS)  # noqa: S311
    made = Roles(docker, user, TASKMILL_DATABASE_URL=empty_database_url, TASKMILL_BROKER_URL=broker_url)
    yield made
    made.end()
