"""The loop outlives what handlers raise, and the end of a process waits for nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from taskmill import constants as c
from taskmill.cli import constants as cc
from taskmill.cli import ending
from taskmill.engine import constants as ec
from tests.support.children import tied
from tests.support.waiting import slowness

BOTH = (SystemExit, KeyboardInterrupt)


async def _raising(error: BaseException) -> None:
    raise error


async def child(error: BaseException) -> None:
    await asyncio.create_task(_raising(error))


async def gathered(error: BaseException) -> None:
    await asyncio.gather(_raising(error), asyncio.sleep(0))


async def grouped(error: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_raising(error))


async def thread(error: BaseException) -> None:
    def work() -> None:
        raise error

    await asyncio.to_thread(work)


async def called_soon(error: BaseException) -> None:
    done = asyncio.Event()

    def work() -> None:
        done.set()
        raise error

    asyncio.get_running_loop().call_soon(work)
    await done.wait()
    await asyncio.sleep(0)
    raise error


async def called_from_a_thread(error: BaseException) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        done.set()
        raise error

    await asyncio.to_thread(loop.call_soon_threadsafe, work)
    await done.wait()
    raise error


@pytest.mark.parametrize(
    "way", [child, gathered, grouped, thread, called_soon, called_from_a_thread], ids=lambda w: w.__name__
)
@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_the_loop_goes_on_and_the_error_is_that_of_one_coroutine(way: Any, error: BaseException) -> None:
    async def main() -> tuple[BaseException | None, str]:
        neighbour = asyncio.create_task(asyncio.sleep(0.05, "fine"))
        caught: BaseException | None = None
        try:
            await way(error)
        except BaseException as raised:  # noqa: BLE001 - 正是要看它
            caught = raised
        return caught, await neighbour

    assert ending.run(main(), survive=BOTH) == (error, "fine")


def test_a_loop_that_a_handler_stops_goes_on() -> None:
    async def main() -> str:
        asyncio.get_running_loop().stop()
        return await asyncio.sleep(0.01, "fine")

    assert ending.run(main(), survive=BOTH) == "fine"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("x"), RuntimeError("x")], ids=repr)
def test_what_the_work_itself_raises_comes_out(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        ending.run(_raising(error), survive=BOTH)
    assert caught.value is error


def test_a_command_that_is_interrupted_cleans_up_first() -> None:
    cleaned: list[bool] = []

    async def main() -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        asyncio.get_running_loop().call_soon(interrupt)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        ending.run(main())
    assert cleaned == [True]


SCRIPT = """
import asyncio, os, signal, sys, threading, time
from taskmill import constants as c
from taskmill.cli import constants as cc
from taskmill.engine import constants as ec
from taskmill.cli import ending
from taskmill.log import configure_logging
configure_logging()
cc.END_MARGIN_S, cc.END_HURRY_S, cc.END_CANCEL_S = 1.0, 1.0, 0.2

async def stubborn():
    while True:
        try: await asyncio.sleep(1)
        except asyncio.CancelledError: pass

async def work(stop, now):
    task = asyncio.create_task(stubborn())
    if "thread" in sys.argv: asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    if "nondaemon" in sys.argv: threading.Thread(target=threading.Event().wait).start()
    if "elsewhere" in sys.argv: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    print("ready", flush=True)
    if "blocked" in sys.argv: time.sleep(600)
    if "lock" in sys.argv: threading.Lock().acquire() and (l := threading.Lock()).acquire() and l.acquire()
    await stop.wait()
    if "hang" in sys.argv: await asyncio.Event().wait()
    if "until-now" in sys.argv: await now.wait()

def main():
    ending.until_signal(work, 0.0)
    return 7 if "seven" in sys.argv else 0

code = main()
ending.settle(code)
sys.exit(code)
"""
END_S = 8.0


@pytest.mark.parametrize(
    ("how", "signals", "code"),
    [
        ((), 1, 0),
        (("seven",), 1, 7),
        (("thread",), 1, 0),
        (("nondaemon", "seven"), 1, 7),
        (("blocked",), 1, ending.EXIT_STUCK),
        (("lock",), 1, ending.EXIT_STUCK),
        (("hang",), 1, ending.EXIT_STUCK),
        (("until-now",), 2, 0),
        (("blocked",), 3, 128 + 15),
        (("elsewhere", "blocked"), 1, ending.EXIT_STUCK),
        (("elsewhere", "blocked"), 3, 128 + 15),
        (("elsewhere", "hang"), 1, ending.EXIT_STUCK),
        (("elsewhere", "until-now"), 2, 0),
    ],
    ids=lambda x: "-".join(x) or "plain" if isinstance(x, tuple) else str(x),
)
def test_a_signal_ends_the_process_whatever_hangs(how: tuple[str, ...], signals: int, code: int) -> None:
    process = subprocess.Popen(tied(sys.executable, "-c", SCRIPT, *how), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
        began = time.monotonic()
        for number in range(signals):
            if number:
                time.sleep(0.2)  # 两次信号之间：内核把同一信号的并发递送合成一次
            process.terminate()
        assert process.wait(60) == code
        assert time.monotonic() - began < END_S * slowness()
    finally:
        process.kill()
        process.wait()


def test_the_limits_fit_into_what_is_promised() -> None:
    assert c.DRAIN_GRACE_S + cc.END_MARGIN_S <= 40
    assert cc.END_HURRY_S <= cc.END_MARGIN_S
    assert ec.STUBBORN_S < c.DEADLINE_GRACE_S


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_what_a_callback_raises_while_the_work_ends_is_not_the_end_of_the_work(error: BaseException) -> None:
    """The work is over in the same turn of the loop in which the callback raises."""

    def work() -> None:
        raise error

    async def main() -> int:
        asyncio.get_running_loop().call_soon(work)
        return 7

    assert ending.run(main(), survive=BOTH) == 7


def test_an_exception_that_is_raised_again_and_again_costs_the_loop_only_a_short_line() -> None:
    """The stack of one that is reused grows each time, and the loop stands still while it is written."""
    error = SystemExit(3)

    def work() -> None:
        raise error

    async def main() -> None:
        for _ in range(20):
            asyncio.get_running_loop().call_soon(work)
            await asyncio.sleep(0.001)

    with capture_logs() as lines:
        ending.run(main(), survive=BOTH)
    assert all("exc_info" not in line for line in lines)
    # uvloop loses one at times, and says that it stopped
    frames = [line["where"].count("File ") for line in lines if "where" in line]
    assert len(frames) > cc.END_LOG_FRAMES
    assert max(frames) == cc.END_LOG_FRAMES


def test_what_is_left_behind_and_raises_when_it_is_cancelled_does_not_change_the_result() -> None:
    class Stubborn(asyncio.Future[None]):
        def cancel(self, msg: Any = None) -> bool:
            raise LookupError(msg)

    async def wait(promised: Stubborn) -> None:
        await promised

    left: list[Any] = []

    async def main() -> int:
        left.append(promised := Stubborn())
        left.append(asyncio.create_task(wait(promised)))
        await asyncio.sleep(0)
        return 7

    assert ending.run(main(), survive=BOTH) == 7
