"""The series of charts over HTTP: its bounds."""

from __future__ import annotations

import httpx2
import pytest

from taskmill.services import constants as svc
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
SERIES = "/api/v1/stats/series"
MOST = svc.SERIES_MINUTES_MAX


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"minutes": "0"}, "minutes"), ({"minutes": str(MOST + 1)}, "minutes"), ({"minutes": "x"}, "minutes"),
        ({"interval_minutes": "0"}, "interval_minutes"), ({"interval_minutes": "1441"}, "interval_minutes"),
        ({"minutes": str(MOST), "interval_minutes": "1"}, "interval_minutes"), ({"queue": ""}, "queue"), ({"color": "red"}, "color"),
    ],
)  # fmt: skip
async def test_what_it_does_not_take(client: httpx2.AsyncClient, query: dict[str, str], field: str) -> None:
    assert refusal(await client.get(SERIES, params=query), 422, "INVALID_REQUEST")["field"] == field


@pytest.mark.parametrize(
    ("query", "interval", "points"),
    [({}, 1, 60), ({"minutes": str(MOST)}, 60, 168), ({"minutes": "1440", "interval_minutes": "1", "queue": "q", "kind": KIND}, 1, 1_440)],
)  # fmt: skip
async def test_every_interval_is_there(
    client: httpx2.AsyncClient, query: dict[str, str], interval: int, points: int
) -> None:
    found = data(await client.get(SERIES, params=query))
    assert found["interval_minutes"] == interval
    assert len(found["points"]) in {points, points + 1}  # 头尾两个也许不满
