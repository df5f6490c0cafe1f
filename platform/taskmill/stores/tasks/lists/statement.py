"""The statement of a list of tasks: one text for each shape of its query, made once and kept; values are parameters.

A shape is which filters are given, which states are wanted, and whether a total is asked for. Each text is one UNION ALL over
history and live tasks, so that a row that moves is seen once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final
from uuid import UUID

from taskmill import constants as c
from taskmill.models.task import NOT_RUNNING, Task
from taskmill.states import FINAL, LIVE, WAITING, State
from taskmill.stores import constants as sc

# 列表不带大字段；slot 与 followed 只有活的任务才有
_LEFT_OUT = {"args", "meta", "slot", "followed"}
# 以前存下的、驱动读不回的时刻（公元一万年以后）：照样列得出来
READABLE: Final = f"least(run_at, '{datetime(c.TIME_YEARS[1] + 1, 1, 1, tzinfo=UTC).isoformat()}') as run_at"
_NAMES = [column.name for column in Task.__table__.columns if column.name not in _LEFT_OUT]
_COLUMNS = ", ".join(READABLE if name == "run_at" else name for name in _NAMES)
# id 由提交者的时钟生成，created_at 由数据库的时钟生成；相差超过这么多才会漏行
_CLOCK_MARGIN_S = 3_600.0
_CLOCK_MARGIN = timedelta(seconds=_CLOCK_MARGIN_S)
# 没有任务结束在将来：提前建好的分区不必规划，它们比有行的还多。本机的钟慢这么多以上才会漏行
_AHEAD = timedelta(days=2)
_ID_TIME_BITS = 48  # UUIDv7 开头的毫秒数
_ID_REST_BITS = 80
_FIRST: Final = 3  # $1 是行数，$2 是之前的行数
_WANTED: Final = "$1::int8 + $2::int8"
_COUNTED: Final = c.TOTAL_EXACT_MAX + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """What a list of tasks is filtered by; None and empty mean: anything. `before` is the keyset (ids below it)."""

    queue: str | None = None
    states: frozenset[State] = frozenset()
    kind: str | None = None
    tag: str | None = None
    schedule_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    before: UUID | None = None
    ids: frozenset[UUID] | None = None


def first_id(moment: datetime, margin_s: float) -> UUID:
    """Return the smallest UUIDv7 of the millisecond `margin_s` seconds after `moment`: conditions on times use the primary key."""
    milliseconds = int((moment.timestamp() + margin_s) * 1000)
    return UUID(int=max(0, min(milliseconds, (1 << _ID_TIME_BITS) - 1)) << _ID_REST_BITS)


def _earliest(moment: datetime) -> UUID:
    return first_id(moment, -_CLOCK_MARGIN_S)


def _latest(moment: datetime) -> UUID:
    return first_id(moment, _CLOCK_MARGIN_S)


def _sooner(moment: datetime) -> datetime:
    try:
        return moment - _CLOCK_MARGIN
    except OverflowError:  # 公元元年：没有更早的
        return moment


# 没有提交就不会开始，没有开始就不会结束：后面的时刻给前面的一个界，用得上别的索引，也少看几个分区
_ENDED = ("{ended} >= {}", _sooner)
_SUBMITTED = ("id < {}", _latest)
# 每个过滤项的条件：列上的写法、参数怎么由值得来
_CONDITIONS: Final[dict[str, Sequence[tuple[str, Callable[[Any], Any] | None]]]] = {
    "queue": [("queue = {}", None)],
    "kind": [("kind = {}", None)],
    "tag": [("tags @> array[{}::text]", None)],
    "schedule_id": [("schedule_id = {}", None)],
    "created_after": [("created_at >= {}", None), ("id >= {}", _earliest), _ENDED],
    "created_before": [("created_at < {}", None), _SUBMITTED],
    "started_after": [("started_at >= {}", None), _ENDED],
    "started_before": [("started_at < {}", None), _SUBMITTED],
    "finished_after": [("{finished_at} >= {}", None)],
    "finished_before": [("{finished_at} < {}", None), _SUBMITTED],
    "before": [("id < {}", None)],
    "ids": [("id = any ({}::uuid[])", sorted)],
}


@dataclass(frozen=True, slots=True)
class _Branch:
    """A part of the tasks; `rest` is what all of them are and others of the table are not. `ended`: no later than the end."""

    table: str
    states: frozenset[State]
    rest: str = ""
    finished_at: str = "finished_at"
    ended: str = "finished_at"


# 活的任务没有结束的时刻，也还没有结束
_live = partial(_Branch, "tasks", finished_at="null::timestamptz", ended="'infinity'::timestamptz")
_HISTORY: Final = _Branch("task_history", FINAL)
_WHOLE: Final = (_HISTORY, _live(LIVE))
# 运行中的任务不在这几项的索引里，领取就不为列表多写什么；它们另有索引
_PARTED: Final = (_HISTORY, _live(WAITING, NOT_RUNNING), _live(frozenset({State.RUNNING}), "state = 'running'"))
_WAITING_ONLY: Final = {"queue", "kind", "started_after", "started_before"}


def statement(query: TaskQuery, *, counted: bool) -> str:
    """Return the text for the shape of a query. $1 is how many rows, $2 how many before them; `values` are the others.

    It gives the columns of a list and `finished_at`, newest first. `counted`: also `total`, which counts to
    TOTAL_EXACT_MAX + 1 and no further; then there is a row without an id if the page is empty.
    """
    return text_of(_given(query), query.states, counted)


def values(query: TaskQuery) -> list[Any]:
    """Return the parameters from $3 on."""
    found: list[Any] = []
    for name in _given(query):
        value = getattr(query, name)
        found += [value if make is None else make(value) for _, make in _CONDITIONS[name]]
    if not query.states or query.states & FINAL:
        found.append(datetime.now(UTC) + _AHEAD)
    return found


def _given(query: TaskQuery) -> tuple[str, ...]:
    return tuple(name for name in _CONDITIONS if getattr(query, name) is not None)


@lru_cache(maxsize=sc.LIST_SHAPES_MAX)
def text_of(given: tuple[str, ...], states: frozenset[State], counted: bool) -> str:  # noqa: FBT001 - 缓存的键
    """Return the text of a shape; so many of them are kept that ordinary use never makes one twice."""
    by = " by " + ", ".join([*given, *sorted(state.value for state in states)]) if given or states else ""
    known = _PARTED if _WAITING_ONLY & set(given) else _WHOLE
    branches = [each for each in known if not states or states & each.states]
    if not counted:
        return f"/* tasks.lists: after{by} */ {_newest(branches, given, states, _COLUMNS, _WANTED)} limit $1 offset $2"
    # 只走一遍：沿着编号数到头，页就在其中，再按主键取这一页的整行；外连接使空的页也得到总数
    most = f"greatest({_COUNTED}, {_WANTED})"
    found = _newest(branches, given, states, "id", most)
    return f"""/* tasks.lists: page{by} */
with found as materialized ({found} limit {most}),
     shown as materialized (select id as at_id, finished_at as at from found order by id desc limit $1 offset $2)
select (select least(count(*), {_COUNTED}) from found) as total, p.*
from (select 1) o left join ({_rows(branches, given)}) p on true order by p.id desc"""


def _newest(branches: Sequence[_Branch], given: tuple[str, ...], states: frozenset[State], columns: str, limit: str) -> str:
    """每个分支按主键倒序各取够，再合并：不排序整张表。"""
    parts = [
        f"(select {columns}, {each.finished_at} as finished_at from taskmill.{each.table}{_where(each, given, states)}"
        f" order by id desc limit {limit})"
        for each in branches
    ]
    return f"select * from ({' union all '.join(parts)}) b order by id desc"


def _where(branch: _Branch, given: tuple[str, ...], states: frozenset[State]) -> str:
    forms = [form for name in given for form, _ in _CONDITIONS[name]]
    names = {"finished_at": branch.finished_at, "ended": branch.ended}
    conditions = [form.format(f"${number}", **names) for number, form in enumerate(forms, _FIRST)]
    if branch is _HISTORY:
        conditions.append(f"finished_at < {_ahead(given)}")
    wanted = states & branch.states
    if wanted and wanted != branch.states:
        # 写成字面量：参数证明不了部分索引的条件
        conditions.append(f"state in ({', '.join(sorted(repr(state.value) for state in wanted))})")
    elif branch.rest:
        conditions.append(branch.rest)
    return f" where {' and '.join(conditions)}" if conditions else ""


def _ahead(given: tuple[str, ...]) -> str:
    return f"${_FIRST + sum(len(_CONDITIONS[name]) for name in given)}"


def _rows(branches: Sequence[_Branch], given: tuple[str, ...]) -> str:
    """页里的整行；历史的主键带着结束的时刻，只看那几天的分区。"""
    on = {
        "task_history": f"t.id = at_id and t.finished_at = at and t.finished_at < {_ahead(given)}",
        "tasks": "t.id = at_id and at is null",
    }
    whole = {each.table: each.finished_at for each in branches}
    return " union all ".join(
        f"select {_COLUMNS}, {finished_at} as finished_at from taskmill.{table} t join shown on {on[table]}"
        for table, finished_at in whole.items()
    )
