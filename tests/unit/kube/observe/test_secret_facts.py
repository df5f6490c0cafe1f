"""Secrets: what the plan may know, when they are read again, and that values never leave by accident."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.observe.secret_facts import Secrets

pytestmark = pytest.mark.anyio
URL = "postgresql://user:hush@db/tasks"


def secret(url: str = URL, *, watched: bool = False) -> dict[str, Any]:
    labels = {f"{names.GROUP}/watch": "true"} if watched else {}
    data = {"url": base64.b64encode(url.encode()).decode()}
    return {"metadata": {"name": "db", "namespace": "ns", "labels": labels}, "data": data}


class Reader:
    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None
        self.reads = 0

    async def find(self, kind: Any, namespace: str, name: str) -> dict[str, Any] | None:
        self.reads += 1
        return self.found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reader() -> Reader:
    return Reader()


async def test_an_unlabelled_secret_is_read_when_needed_and_again_after_a_while(reader: Reader, clock: FakeClock) -> None:
    secrets = Secrets(reader, clock)
    reader.found = secret()
    first = await secrets.facts("ns", ["db"], {"db"})
    assert first["db"].found and first["db"].keys == {"url"}
    assert secrets.value("ns", "db", "url") == URL
    await secrets.facts("ns", ["db"])
    assert reader.reads == 1
    reader.found = secret(URL + "2")
    clock.advance(c.KUBE_SECRET_REFRESH_S)
    second = await secrets.facts("ns", ["db"])
    assert reader.reads == 2
    assert second["db"].digest != first["db"].digest


async def test_a_missing_secret_is_looked_for_soon_again(reader: Reader, clock: FakeClock) -> None:
    secrets = Secrets(reader, clock)
    assert not (await secrets.facts("ns", ["db"]))["db"].found
    reader.found = secret()
    clock.advance(c.KUBE_SECRET_MISSING_S)
    assert (await secrets.facts("ns", ["db"]))["db"].found


async def test_a_watched_secret_is_never_read_by_name(reader: Reader, clock: FakeClock) -> None:
    secrets = Secrets(reader, clock)
    assert secrets.put(secret(watched=True))
    assert not secrets.put(secret(watched=True))  # 内容没变就不是新闻
    clock.advance(10 * c.KUBE_SECRET_REFRESH_S)
    assert (await secrets.facts("ns", ["db"]))["db"].found
    assert reader.reads == 0
    assert secrets.unknown("ns", "db")  # 标签没了，或者删了
    assert not (await secrets.facts("ns", ["db"]))["db"].found
    assert reader.reads == 1


async def test_without_the_right_to_watch_labelled_ones_are_read_again_too(reader: Reader, clock: FakeClock) -> None:
    secrets = Secrets(reader, clock)
    secrets.watching = False
    reader.found = secret(watched=True)
    await secrets.facts("ns", ["db"])
    clock.advance(c.KUBE_SECRET_REFRESH_S)
    await secrets.facts("ns", ["db"])
    assert reader.reads == 2


async def test_values_stay_out_of_representations(reader: Reader) -> None:
    secrets = Secrets(reader)
    secrets.holds_url = lambda _, __: True
    secrets.put(secret())
    facts = await secrets.facts("ns", ["db"])
    assert secrets.value("ns", "db", "url") == URL
    hidden = (URL, secret()["data"]["url"])
    assert not any(text in repr(facts) + repr(secrets._entries) for text in hidden)


async def test_a_value_that_is_no_text_is_none(reader: Reader) -> None:
    secrets = Secrets(reader)
    secrets.holds_url = lambda _, __: True
    broken = secret()
    broken["data"] = {"url": "%%%", "raw": base64.b64encode(b"\xff\xfe").decode()}
    secrets.put(broken)
    assert secrets.value("ns", "db", "url") is None
    assert secrets.value("ns", "db", "raw") is None
    assert secrets.value("ns", "db", "absent") is None


def versioned(version: int, url: str = URL, uid: str = "u1") -> dict[str, Any]:
    made = secret(url, watched=True)
    made["metadata"] |= {"uid": uid, "resourceVersion": str(version)}
    return made


async def test_a_list_that_comes_late_does_not_bring_old_content_back(reader: Reader) -> None:
    secrets = Secrets(reader)
    secrets.holds_url = lambda _, __: True
    assert secrets.put(versioned(9, URL + "2"))
    assert not secrets.put(versioned(8))
    assert secrets.value("ns", "db", "url") == URL + "2"
    assert secrets.put(versioned(7, uid="u2"))  # 重建的：版本只在同一个对象之内比


async def test_a_labelled_secret_that_a_full_list_lacks_is_read_by_name(reader: Reader) -> None:
    secrets = Secrets(reader)
    secrets.put(versioned(1))
    assert secrets.unlisted("other", set()) == []
    assert secrets.unlisted("ns", {("ns", "db")}) == []
    assert secrets.unlisted("", set()) == [("ns", "db")]
    assert not (await secrets.facts("ns", ["db"]))["db"].found


async def test_a_digest_says_nothing_to_who_may_not_read_the_secret(reader: Reader) -> None:
    """The same content has another digest in another Secret: without its uid no guess can be tried."""
    secrets, others = Secrets(reader), Secrets(reader)
    secrets.put(versioned(1))
    others.put(versioned(1, uid="u2"))
    (one,), (other,) = [(await each.facts("ns", ["db"])).values() for each in (secrets, others)]
    assert one.keys == other.keys
    assert one.digest != other.digest


async def test_of_what_is_only_mounted_a_digest_is_kept(reader: Reader) -> None:
    secrets, maps = Secrets(reader), Secrets(reader, kind=k.CONFIG_MAP)
    secrets.put(secret(watched=True))  # 看守先送来，还没有谁说要它的值
    reader.found = secret()
    assert (await secrets.facts("ns", ["db"]))["db"].digest
    assert (await maps.facts("ns", ["db"]))["db"].digest
    encoded = secret()["data"]["url"]
    assert not [each for each in (secrets, maps) if encoded in str([vars_of(entry) for entry in each._entries.values()])]
    assert secrets.value("ns", "db", "url") is None
    await secrets.facts("ns", ["db"], {"db"})  # 有人要了：这才去读
    assert secrets.value("ns", "db", "url") == URL
    reads = reader.reads
    await secrets.facts("ns", ["db"], {"db"})
    assert reader.reads == reads


def vars_of(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}


async def test_what_is_in_doubt_serves_until_it_was_read_again(reader: Reader, clock: FakeClock) -> None:
    secrets, told = Secrets(reader, clock), list[tuple[str, str]]()
    secrets.changed = lambda namespace, name: told.append((namespace, name))
    reader.found = versioned(5)
    await secrets.facts("ns", ["db"], {"db"})
    assert not secrets.doubt("ns", "db")  # 刚读过
    clock.advance(c.KUBE_SECRET_MISSING_S)
    assert secrets.doubt("ns", "db")
    assert not secrets.doubt("ns", "db")  # 已经在疑：一次就够
    assert secrets.value("ns", "db", "url") == URL
    assert not secrets.put(versioned(4, URL + "old"))  # 版本也还记着
    assert secrets.value("ns", "db", "url") == URL
    reader.found = versioned(6, URL + "2")
    await secrets.facts("ns", ["db"], {"db"})
    assert secrets.value("ns", "db", "url") == URL + "2"
    assert told == [("ns", "db")]  # 用同一个 Secret 的也该知道
    assert not secrets.doubt("ns", "db")
