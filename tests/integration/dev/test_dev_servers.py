"""`taskmill dev` starts only the servers whose URL nobody gave, and finds a port when the usual one is taken."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from taskmill import constants as c
from taskmill.dev import constants as dc
from taskmill.dev.dev import _with_ports, _with_servers
from taskmill.errors import SetupError
from taskmill.settings import Settings, load_settings

pytestmark = pytest.mark.anyio

GIVEN = {"database_url": "postgresql://given@127.0.0.1:1/given", "broker_url": "redis://127.0.0.1:1/0"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the person who runs the tests don't count."""
    for name in ("TASKMILL_DATABASE_URL", "TASKMILL_BROKER_URL", "TASKMILL_API_PORT"):
        monkeypatch.delenv(name, raising=False)


async def adapted(settings: Settings, home: Path) -> tuple[Settings, list[str]]:
    """Return the adapted settings and the folders of the servers that were started; stops them again."""
    async with AsyncExitStack() as stack:
        result = await _with_servers(settings, home, stack)
        return result, sorted(entry.name for entry in home.iterdir())


@pytest.mark.parametrize(
    ("given", "started"),
    [(["database_url", "broker_url"], []), (["database_url"], ["valkey"]), (["broker_url"], ["postgresql"])],
)
async def test_a_given_server_is_used_and_the_other_one_started(
    server_root: Path, given: list[str], started: list[str]
) -> None:
    home = server_root / f"dev-{'-'.join(given)}"
    home.mkdir()
    settings, folders = await adapted(load_settings(**{name: GIVEN[name] for name in given}), home)
    assert folders == started
    for name, url in GIVEN.items():
        assert (getattr(settings, f"require_{name}")() == url) == (name in given)


def test_the_usual_port_is_replaced_if_it_is_taken_and_a_named_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("api_port", "worker_health_port", "scheduler_health_port"):
            with pytest.raises(SetupError, match=f"TASKMILL_{name.upper()}"):
                _with_ports(load_settings(**{**GIVEN, "api_port": 0, name: port}))
    assert _with_ports(load_settings(**GIVEN, api_port=port)).api_port == port
    monkeypatch.setattr("taskmill.dev.ports.is_free", lambda port: port != c.API_PORT)
    assert _with_ports(load_settings(**GIVEN)).api_port != c.API_PORT


async def test_the_drain_fits_into_ten_seconds(tmp_path: Path) -> None:
    settings, _ = await adapted(load_settings(**GIVEN, drain_grace_s=600), tmp_path)
    assert settings.drain_grace_s == dc.DEV_DRAIN_GRACE_S
