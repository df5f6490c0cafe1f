"""Groups of failures: one statement for all that was counted meanwhile, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from taskmill.stores import constants as c
from taskmill.stores.database import Connection, Queryable

# 一个类型的组满了，新的都归进「其余」那一组，直到清理腾出地方。按指纹的次序写：两个同时写的人不会交叉着等。
# 每一组来几行（最近的几个任务），次数记在其中一行上
COUNT = f"""
with u as materialized (
  select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::bigint[])
    with ordinality as u(fingerprint, other, kind, error_type, message, frame, queue, task_id, n, place)
), k as materialized (
  select d.kind, (select count(*) from (
    select from taskmill.failures f where f.kind = d.kind limit {c.FAILURE_GROUPS_FULL}) f) as n
  from (select distinct kind from u) d
), g as materialized (
  select u.fingerprint, u.other, u.kind, u.error_type, u.message, u.frame, array_agg(distinct u.queue) as queues, sum(u.n) as n,
         array_agg(u.task_id order by u.place desc) as ids, max(u.place) as place,
         exists (select from taskmill.failures f where f.fingerprint = u.fingerprint) as known
  from u group by 1, 2, 3, 4, 5, 6
), placed as (
  select g.*, g.fingerprint = g.other or not g.known and k.n + row_number() over (
                partition by g.kind, g.known order by g.fingerprint) > {c.FAILURE_GROUPS_FULL} as late
  from g join k on k.kind = g.kind
)
insert into taskmill.failures as f (fingerprint, kind, error_type, message, frame, queues, first_at, last_at, n, task_ids)
select case when late then other else fingerprint end, kind,
       case when late then '' else error_type end, case when late then '' else message end, case when late then '' else frame end,
       (case when late then array_agg(distinct queues[1]) else max(queues) end)[1:{c.FAILURE_QUEUES_MAX}], now(), now(), sum(n),
       (case when late then array_agg(ids[1] order by place desc) else max(ids) end)[1:{c.FAILURE_TASKS_MAX}]
from placed group by 1, 2, 3, 4, 5, late order by 1
on conflict (fingerprint) do update
set n = f.n + excluded.n, last_at = greatest(f.last_at, excluded.last_at),
    queues = case when f.queues @> excluded.queues then f.queues else (f.queues || array(
      select q from unnest(excluded.queues) q where q <> all (f.queues)))[1:{c.FAILURE_QUEUES_MAX}] end,
    task_ids = (excluded.task_ids || array(
      select i from unnest(f.task_ids) i where i <> all (excluded.task_ids)))[1:{c.FAILURE_TASKS_MAX}]
"""
# 太久没有再失败的；一个类型太多的，留下最近失败过的那些，「其余」也在其中
PRUNE = f"""
with crowded as materialized (
  select kind from taskmill.failures group by kind having count(*) > {c.FAILURE_GROUPS_MAX} + 1
), surplus as materialized (
  select f.fingerprint from crowded, lateral (
    select fingerprint from taskmill.failures f where f.kind = crowded.kind and f.error_type <> ''
    order by last_at desc, fingerprint desc offset {c.FAILURE_GROUPS_MAX}) f
), old as materialized (
  select fingerprint from taskmill.failures
  where last_at < now() - $1 * interval '1 day' or fingerprint in (select fingerprint from surplus)
  order by last_at limit $2 for update skip locked
)
delete from taskmill.failures f using old where f.fingerprint = old.fingerprint returning f.fingerprint
"""


@dataclass(frozen=True, slots=True)
class Failed:
    """One failed attempt: its group, the group of what is too much for its kind, and what both are made of."""

    fingerprint: str
    other: str
    kind: str
    error_type: str
    message: str
    frame: str
    queue: str
    task_id: UUID


@dataclass(frozen=True, slots=True)
class Counted:
    """`n` failures of one group; `newest` are the last of them, the newest last, at most FAILURE_TASKS_MAX."""

    n: int
    newest: tuple[Failed, ...]

    @classmethod
    def of(cls, failed: Failed) -> Counted:
        """Return one failure, counted."""
        return cls(1, (failed,))

    @property
    def failed(self) -> Failed:
        """Return one that says which group this is."""
        return self.newest[0]

    def and_then(self, later: Counted) -> Counted:
        """Return both together; they are of one group."""
        return Counted(self.n + later.n, (*self.newest, *later.newest)[-c.FAILURE_TASKS_MAX :])

    def as_other(self) -> Counted:
        """Return the same as failures of the group of what is too much for the kind."""
        rest = (replace(each, fingerprint=each.other, error_type="", message="", frame="") for each in self.newest)
        return Counted(self.n, tuple(rest))


def together(failed: Iterable[Failed]) -> list[Counted]:
    """Return failures counted by their groups; the last ones are the newest."""
    found: dict[str, Counted] = {}
    for each in failed:
        one = Counted.of(each)
        found[each.fingerprint] = found[each.fingerprint].and_then(one) if each.fingerprint in found else one
    return list(found.values())


async def count(connection: Connection, counted: Sequence[Counted]) -> None:
    """Count failures into their groups, in the caller's transaction. LOCKED_OUT if a group is held for FAILURE_LOCK_MS."""
    await connection.execute(f"set local lock_timeout = {c.FAILURE_LOCK_MS}")
    failed = [each for group in counted for each in group.newest]
    await connection.execute(
        COUNT,
        [each.fingerprint for each in failed],
        [each.other for each in failed],
        [each.kind for each in failed],
        [each.error_type for each in failed],
        [each.message for each in failed],
        [each.frame for each in failed],
        [each.queue for each in failed],
        [each.task_id for each in failed],
        [n for group in counted for n in (group.n - len(group.newest) + 1, *(1 for _ in group.newest[1:]))],
    )


async def prune(connection: Queryable, retention_days: int, limit: int) -> int:
    """Delete groups in which nothing has failed for the retention, and of a kind with too many the oldest; returns how many."""
    return len(await connection.fetch(PRUNE, retention_days, limit, timeout=c.LONG_COMMAND_TIMEOUT_S))
