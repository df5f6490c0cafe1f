"""Keys: made, listed, revoked; the secret is nowhere but in the answer."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from taskmill.errors import Code, TaskmillError
from taskmill.services.platform import Platform
from tests.support import api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The services, on servers of this test."""
    async with api.opened(database_url, broker_url) as found:
        yield found


async def test_only_the_hash_is_stored(platform: Platform) -> None:
    key = await platform.keys.create("ci", ["read"])
    row = await platform.database.pool.fetchrow("select * from taskmill.api_keys")
    assert row["hash"] == hashlib.sha256(key.secret.encode()).digest()
    assert key.secret.startswith(row["prefix"])
    assert key.secret not in repr(dict(row))
    [listed] = await platform.keys.list()
    assert b"secret" not in msgspec.json.encode(listed)
    assert (listed.name, listed.scopes) == ("ci", ["read"])


@pytest.mark.parametrize("by", ["id", "name", "prefix"])
async def test_a_key_is_revoked_by_id_name_or_prefix(platform: Platform, by: str) -> None:
    key = await platform.keys.create("one")
    revoked = await platform.keys.revoke(str(getattr(key, by)))
    assert (revoked.id, revoked.revoked_at is not None) == (key.id, True)
    assert await platform.keys.authenticate(key.secret) is None


async def test_a_name_that_two_keys_have_is_refused(platform: Platform) -> None:
    first, second = await platform.keys.create("same"), await platform.keys.create("same")
    with pytest.raises(TaskmillError) as raised:
        await platform.keys.revoke("same")
    assert raised.value.code is Code.INVALID_REQUEST
    await platform.keys.revoke(str(first.id))
    assert (await platform.keys.revoke("same")).id == second.id


async def test_an_unknown_key_is_not_found(platform: Platform) -> None:
    for reference in ("nobody", "01890000-0000-7000-8000-000000000000"):
        with pytest.raises(TaskmillError) as raised:
            await platform.keys.revoke(reference)
        assert raised.value.code is Code.KEY_NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a", "scopes": []}, "scope"),
        ({"name": "a", "scopes": ["admin"]}, "scope"),
        ({"name": "a", "expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"name": "a", "expires_at": datetime(2999, 1, 1)}, "expires_at"),
    ],
)
async def test_wrong_keys_name_the_field(platform: Platform, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(TaskmillError) as raised:
        await platform.keys.create(**fields)
    assert (raised.value.code, raised.value.details["field"]) == (Code.INVALID_REQUEST, named)
