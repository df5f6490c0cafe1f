"""The loop in the background: answers and errors reach the thread that asked, from any number of threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskmill.door.background import Background
from taskmill.errors import Code, InputError


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.stop()


async def _double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


async def _fail() -> None:
    raise KeyError("gone")


def test_threads_share_it(background: Background) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: background.run(_double(n)), range(100))) == [2 * n for n in range(100)]


def test_an_error_is_raised_where_it_was_asked(background: Background) -> None:
    with pytest.raises(KeyError, match="gone"):
        background.run(_fail())


def test_a_process_that_was_forked_off_is_told(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_process", -1)
    with pytest.raises(InputError) as caught:
        background.run(_double(1))
    assert caught.value.code is Code.USAGE
    assert "fork" in str(caught.value)


def test_an_interrupted_wait_ends_the_work(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    background.run(_double(1))
    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        background.run(endless())
    assert ended.wait(10)


def test_its_thread_ends_with_it() -> None:
    made = Background()
    made.run(_double(1))
    made.stop()
    assert "taskmill-door" not in {thread.name for thread in threading.enumerate()}
