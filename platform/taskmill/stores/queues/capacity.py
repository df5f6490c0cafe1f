"""How many more tasks a queue takes whose backlog has a limit (`max_backlog`)."""

from __future__ import annotations

from collections.abc import Mapping

from taskmill.stores.database import Connection

BACKLOG = """
select u.queue, (select count(*) from (
  select from taskmill.tasks t where t.queue = u.queue and t.state = 'available' limit u.most) w) as waiting
from unnest($1::text[], $2::int[]) as u(queue, most)
"""
CLOSE = "select name from taskmill.queues where name = any ($1::text[]) order by name for no key update"


async def room(connection: Connection, most: Mapping[str, int]) -> dict[str, int]:
    """Return how many more tasks each queue takes, of at most `most` that wait; nobody else submits to them until the commit."""
    names = sorted(most)
    await connection.fetch(CLOSE, names)
    rows = await connection.fetch(BACKLOG, names, [most[name] for name in names])
    return {row["queue"]: most[row["queue"]] - row["waiting"] for row in rows}
