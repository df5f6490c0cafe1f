"""The charts of 概览 and of a queue: what they count, how far back, said in a table too, and summed once for all who look."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from litestar import Litestar
from msgspec import UNSET

from taskmill.clock import FakeClock
from taskmill.services.dashboard.trends import Trends
from taskmill.services.platform import Platform
from taskmill.services.queues.series import Series, SeriesService, SeriesWindow
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.queues.histogram import BASE
from tests.support import api
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio
SECOND = 20  # 号：861 毫秒上下的桶
CELLS = re.compile(r"<td[^>]*>([^<]*)</td>")


async def counted(
    platform: Platform, queue: str, n: int, *, minutes: int = 2, outcome: str = "completed", wait: int = SECOND, run: int = SECOND
) -> None:  # fmt: skip
    """So many finished so many minutes ago; `wait` and `run` are numbers of buckets."""
    times = (n * Decimal(BASE) ** wait, n * Decimal(BASE) ** run) if outcome != "cancelled" else (Decimal(0), Decimal(0))
    await platform.database.pool.execute(
        "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_hist, run_hist) "
        "values (date_trunc('minute', now()) - $1 * interval '1 minute', $2, $3, $4, $5, $6, $7, $8)",
        minutes, queue, api.KIND, outcome, uuid4(), n, *times,
    )  # fmt: skip


def table(text: str, name: str) -> list[list[str]]:
    """The rows of a chart's table without the first column, the newest first."""
    found = re.search(rf'<details id="{name}-data">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    return [] if found is None else [CELLS.findall(row)[1:] for row in found[1].split("</tr>") if "<td" in row]


def sums(text: str) -> list[int]:
    """What the table of finished tasks counts: completed, discarded, cancelled."""
    return [sum(int(row[column].replace(",", "")) for row in table(text, "ended")) for column in range(3)]


@pytest.fixture
async def busy(platform: Platform) -> None:
    for queue in ("mail", "pay"):
        await platform.submit.submit(SubmitRequest(kind=api.KIND, queue=queue))
    await counted(platform, "mail", 7, wait=22, run=14)
    await counted(platform, "mail", 2, outcome="discarded")
    await counted(platform, "mail", 1, outcome="cancelled")
    await counted(platform, "pay", 1_100)
    await counted(platform, "pay", 30, minutes=5 * 60)
    await counted(platform, "pay", 400, minutes=3 * 1_440)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", [1_107, 2, 1]),
        ("?hours=6", [1_137, 2, 1]),
        ("?hours=24", [1_137, 2, 1]),
        ("?hours=168", [1_537, 2, 1]),
        ("queues/mail", [7, 2, 1]),
        ("queues/pay", [1_130, 0, 0]),
        ("queues/pay?hours=1", [1_100, 0, 0]),
        ("queues/pay?hours=168", [1_530, 0, 0]),
    ],
)
async def test_a_chart_counts_its_queue_or_all_and_its_time(busy: None, me: Visitor, path: str, told: list[int]) -> None:
    text = (await me.get(path)).text
    assert sums(text) == told
    hours = re.search(r"hours=(\d+)", path)
    chosen = re.findall(r'href="\?hours=(\d+)" aria-current="true"', text)
    assert chosen == [hours[1] if hours else "6" if path else "1"]
    for outcome, n in zip(("completed", "discarded", "cancelled"), told, strict=True):
        assert (f'<rect class="of {outcome}"' in text) == (n > 0)


async def test_waits_and_runs_are_told_apart(busy: None, me: Visitor) -> None:
    text = (await me.get("queues/mail")).text
    [waits], [runs] = table(text, "waits"), table(text, "runs")
    assert waits == ["1.7 s", "1.7 s", "1.7 s"]
    assert runs == ["108 ms", "861 ms", "861 ms"]


@pytest.mark.parametrize(
    ("lang", "ended", "waits"),
    [
        (
            "en",
            "In the last 6 h 7 completed, 2 failed, 1 were cancelled; at most 10 in 5 min",
            "Waits of the last 6 h: the newest point has p50",
        ),
        ("zh", "最近 6 小时：完成 7 个，失败 2 个，取消 1 个，5 分钟里最多 10 个", "最近 6 小时 的等待：最新一点 p50"),
    ],
)
async def test_each_drawing_is_said_in_words(busy: None, me: Visitor, lang: str, ended: str, waits: str) -> None:
    me.client.headers["Accept-Language"] = lang
    text = (await me.get("queues/mail")).text
    said = re.findall(r'<svg class="chart"[^>]*role="img" aria-label="([^"]*)"', text)
    assert len(said) == 3
    assert said[0] == ended
    assert said[1].startswith(waits)


@pytest.mark.parametrize("path", ["", "queues/mail"])
@pytest.mark.parametrize("hours", ["0", "2", "x", "1e0", "", "٦"])
async def test_a_time_that_is_not_offered_is_refused(busy: None, me: Visitor, path: str, hours: str) -> None:
    answer = await me.get(f"{path}?hours={hours}")
    assert answer.status_code == 422
    assert "1, 6, 24, 168" in answer.text


async def test_a_queue_in_which_nothing_ran_says_so(platform: Platform, me: Visitor) -> None:
    await platform.submit.submit(SubmitRequest(kind=api.KIND, queue="new"))
    await counted(platform, "new", 3, outcome="cancelled")
    text = (await me.get("queues/new")).text
    assert sums(text) == [0, 0, 3]
    assert text.count("Nothing has run in this time") == 2
    assert "<polyline" not in text


class Slow(SeriesService):
    """Counts what is asked; each answer costs `cost_s` of the fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.asked: list[SeriesWindow] = []
        self.known: list[Series | None] = []
        self.clock = clock

    async def get(self, window: SeriesWindow, known: Series | None = None) -> Series:
        self.asked.append(window)
        self.known.append(known)
        await asyncio.sleep(0)
        return Series(minutes=window.minutes, interval_minutes=1, points=[])


async def test_each_series_is_summed_once_for_all() -> None:
    service = Slow(FakeClock())
    trends = Trends(service, service.clock)
    await asyncio.gather(*(trends.get(60) for _ in range(12)))
    await trends.get(60)
    assert len(service.asked) == 1
    await trends.get(360)
    await trends.get(60, "mail")
    assert len(service.asked) == 3
    service.clock.advance(60.0)
    await trends.get(60)
    assert [each is None for each in service.known] == [True, True, True, False]


async def test_a_series_that_failed_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Slow(FakeClock())
    trends = Trends(service, service.clock)
    with monkeypatch.context() as away:

        async def fail(*_: Any) -> Series:
            raise OSError

        away.setattr(service, "get", fail)
        with pytest.raises(OSError):  # noqa: PT011 - 原样传出来
            await trends.get(60)
    assert (await trends.get(60)).points == []


async def test_only_so_many_series_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmill.services.dashboard.constants.TRENDS_MAX", 2)
    service = Slow(FakeClock())
    trends = Trends(service, service.clock)
    for queue in ("a", "b", "a", "c", "a", "b"):
        await trends.get(60, queue)
    assert [window.queue for window in service.asked] == ["a", "b", "c", "b"]


async def test_the_pages_share_what_was_summed(
    busy: None, app: Litestar, me: Visitor, reader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmill.services.dashboard.constants.SUMS_S", 3_600.0)
    asked: list[SeriesWindow] = []
    real = SeriesService.get

    async def get(self: SeriesService, window: SeriesWindow, known: Series | None = None) -> Series:
        asked.append(window)
        return await real(self, window, known)

    monkeypatch.setattr(SeriesService, "get", get)
    for each in (me, reader, me, reader):
        assert (await each.get("?hours=24")).status_code == 200
        assert (await each.get("queues/mail?hours=24")).status_code == 200
    assert [(window.minutes, window.queue) for window in asked] == [(1_440, UNSET), (1_440, "mail")]
