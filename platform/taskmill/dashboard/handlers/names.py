"""What the page's script completes and finds: keys and states of the filter language, queues, kinds."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get

from taskmill.dashboard.pages import HEADERS
from taskmill.dashboard.visit import Visit, site_of
from taskmill.services import task_query as query
from taskmill.states import State

LENGTHS = (">10m", ">1h", ">24h", "<1h", "7d..1d")  # 时间的样子，作例子


@get("/names")
async def names(request: Visit) -> Response[Any]:
    """Return the values that each key of the filter language may have, as far as they are known."""
    known = await site_of(request).names.get()
    values: dict[str, Any] = {key: [] for key in query.KEYS}
    values |= {"state": list(State), **dict.fromkeys(query.TIMES, LENGTHS), "queue": known.queues, "kind": known.kinds}
    return Response(msgspec.json.encode(values), media_type="application/json", headers=HEADERS)
