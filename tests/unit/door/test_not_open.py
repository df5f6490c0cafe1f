"""A door that is not open says how to open it; a setting that is missing is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import taskmill.sync
from taskmill import Taskmill
from taskmill.errors import Code, InputError, SetupError
from taskmill.stores.guests import GUESTS, call, guest_of

pytestmark = pytest.mark.anyio
KEYS = ("TASKMILL_DATABASE_URL", "TASKMILL_BROKER_URL")


async def test_nothing_works_before_it_is_open() -> None:
    door = Taskmill()
    with pytest.raises(InputError, match="async with"):
        await door.submit("a.b")
    with pytest.raises(InputError, match="async with"):
        door.order(uuid4())
    await door.close()


@pytest.mark.parametrize(
    "use",
    [lambda door: door.submit("a.b"), lambda door: list(door.submit_many([])), lambda door: door.order(uuid4())],
    ids=["submit", "submit_many", "order"],
)
def test_nor_does_the_blocking_one(use: Callable[[Any], object]) -> None:
    door = taskmill.sync.Taskmill()
    with pytest.raises(InputError, match="not open"):
        use(door)
    door.close()


@pytest.mark.parametrize("missing", [KEYS[:1], KEYS[1:], KEYS], ids=", ".join)
async def test_the_settings_that_are_missing_are_named(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    given = {"database_url": "postgresql://nobody@127.0.0.1:1/none", "broker_url": "redis://127.0.0.1:1/0"}
    for name in missing:
        del given[name.removeprefix("TASKMILL_").lower()]
    with pytest.raises(SetupError) as caught:
        await Taskmill(**given).open()
    error = caught.value
    assert (error.code, error.details["field"]) == (Code.CONFIG_INVALID, ", ".join(missing))
    assert ("run.json" in str(error)) == (len(missing) == len(KEYS))
    assert error.__notes__ == ["hint: settings are listed in docs/reference/settings.md"]


@pytest.mark.parametrize("what", [None, object(), "postgresql://", 5], ids=["none", "object", "url", "number"])
def test_what_is_no_connection_is_refused_by_name(what: object) -> None:
    with pytest.raises(InputError) as caught:
        guest_of(what)
    assert caught.value.code is Code.USAGE
    assert type(what).__name__ in str(caught.value)


def test_a_connection_is_known_by_its_class_and_those_above_it() -> None:
    for (module, name), guest in GUESTS.items():
        known = type(name, (), {"__module__": f"{module}.somewhere"})
        assert guest_of(type("Theirs", (known,), {"__module__": "app"})()) is guest
    assert {guest.waits for guest in GUESTS.values()} == {True, False}


def test_a_connection_that_awaits_needs_the_door_that_does() -> None:
    theirs = type("AsyncConnection", (), {"__module__": "psycopg"})()
    with pytest.raises(InputError, match=r"taskmill\.Taskmill"):
        call(theirs, "[]")
