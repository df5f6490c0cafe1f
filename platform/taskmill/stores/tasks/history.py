"""Out of the live table and into history, and the counting of both: the SQL behind invariants 7, 9 and 11, once.

Fragments of statements; `t` is the live row. A task ends, or comes back, in one statement that deletes it here, inserts it
there and counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from taskmill.models.task import Task, TaskHistory

LIVE_COLUMNS: Final = tuple(column.name for column in Task.__table__.columns)
FINAL_COLUMNS: Final = tuple(column.name for column in TaskHistory.__table__.columns)
NOW_MS: Final = "date_trunc('milliseconds', now())"  # 票据只带毫秒：行里的时刻要与它分毫不差


def state_in(states: Iterable[str]) -> str:
    """Return the condition that `t` is in one of `states`, in a form that no partial index fits.

    The planner then keeps to the primary key: with statistics from an emptier table it would pick such an index, and be
    30 times slower.
    """
    return f"coalesce(t.state, '') in ({', '.join(repr(str(state)) for state in sorted(states))})"


def columns(names: Iterable[str], changes: Mapping[str, str], row: str) -> str:
    """Return a select list of `names` from `row`, with the expressions of `changes` in place of some."""
    return ", ".join(f"{changes[name]} as {name}" if name in changes else f"{row}.{name}" for name in names)


def ended(changes: Mapping[str, str]) -> str:
    """Return the `returning` list of a delete from the live table that makes a final row of `t`."""
    always = {
        "ticket_at": "null::timestamptz",
        "slot": "null::smallint",
        "finished_at": "clock_timestamp()",
        "updated_at": "clock_timestamp()",
    }
    return columns(FINAL_COLUMNS, {**always, **changes}, "t")


def into_history(source: str, where: str = "true") -> str:
    """Return the insert of the final rows of `source`."""
    names = ", ".join(FINAL_COLUMNS)
    return f"insert into taskmill.task_history ({names}) select {names} from {source} where {where}"


def into_live(source: str, changes: Mapping[str, str]) -> str:
    """Return the insert into the live table of rows of history."""
    names = ", ".join(LIVE_COLUMNS)
    return f"insert into taskmill.tasks ({names}) select {columns(LIVE_COLUMNS, changes, source)} from {source}"


def counts(source: str, outcome: str, writer: str, *, sums: str = "0, 0, 0, 0", where: str = "true") -> str:
    """Return the rows of rollups that `source` adds: one for each queue, kind and `outcome` (an expression)."""
    return f"""
  select date_trunc('minute', now()), queue, kind, {outcome}, {writer}::uuid, count(*), {sums}
  from {source} where {where} group by 2, 3, 4"""


def counted(rows: str) -> str:
    """Return the insert that adds `rows`, selects such as `counts`, to the rollups; in key order, so that none wait crosswise."""
    return f"""
  insert into taskmill.rollups as r (minute, queue, kind, outcome, writer, n, wait_ms, run_ms, wait_hist, run_hist)
  {rows}
  order by 1, 2, 3, 4
  on conflict (minute, queue, kind, outcome, writer) do update
  set n = r.n + excluded.n, wait_ms = r.wait_ms + excluded.wait_ms, run_ms = r.run_ms + excluded.run_ms,
      wait_hist = r.wait_hist + excluded.wait_hist, run_hist = r.run_hist + excluded.run_hist"""
