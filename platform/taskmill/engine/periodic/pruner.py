"""Pruner: makes the partitions of the coming days, drops expired ones, and removes what belonged to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.stores import idempotency
from taskmill.stores.database import Database
from taskmill.stores.tasks import failures, partitions, prune, rates
from taskmill.stores.tasks.order import sequences

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PrunerConfig:
    """How long things are kept."""

    retention_days: int = c.RETENTION_DAYS
    days_ahead: int = c.PARTITION_DAYS_AHEAD
    worker_keep_s: float = ec.WORKER_KEEP_S
    batch: int = ec.PRUNE_BATCH


class Pruner:
    """Runs on every scheduler replica; locks keep replicas apart.

    A partition that somebody is using is left for the next tick: waiting for it would hold up every settle. Rollups
    are never deleted, only merged by day, since invariant 9 sums over all of them.
    """

    name = "pruner"
    period_s = ec.PRUNER_PERIOD_S

    def __init__(self, database: Database, config: PrunerConfig | None = None) -> None:
        self._database = database
        self._config = config or PrunerConfig()
        self._writer = new_id()

    async def run_once(self) -> Mapping[str, int]:
        """Do one round.

        Returns made and dropped (partitions), pruned (their rows), expired (rows past the retention of their queue),
        busy (partitions left for later), attempts, fires, unique_keys, buckets (of keys), sequences (empty ones), answers, failures (groups), workers, rollups (rows merged) and more (a batch was full).
        """
        config = self._config
        async with self._database.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection:
            made = await partitions.ensure_partitions(connection, config.days_ahead)
        dropped, pruned, busy = await self._drop_expired()
        pool = self._database.pool
        expired, full = await prune.prune_queues(pool, self._writer, config.batch)
        attempts = await prune.prune_attempts(pool, config.retention_days, config.batch)
        fires = await prune.prune_fires(pool, config.retention_days, config.batch)
        keys = await prune.prune_unique_keys(pool, config.batch)
        buckets = await rates.prune(pool, config.batch)
        order = await sequences.prune(pool, config.batch)
        answers = await idempotency.prune(pool, config.batch)
        groups = await failures.prune(pool, config.retention_days, config.batch)
        workers = await prune.prune_workers(pool, config.worker_keep_s)
        rollups = await prune.merge_rollups(pool, config.retention_days, config.batch)
        return {
            "made": made,
            "dropped": dropped,
            "pruned": pruned,
            "expired": expired,
            "busy": busy,
            "attempts": attempts,
            "fires": fires,
            "unique_keys": keys,
            "buckets": buckets,
            "sequences": order,
            "answers": answers,
            "failures": groups,
            "workers": workers,
            "rollups": rollups,
            "more": int(
                full or config.batch in {attempts, fires, keys, buckets, order, answers, groups} or rollups >= config.batch
            ),
        }

    async def _drop_expired(self) -> tuple[int, int, int]:
        dropped = pruned = busy = 0
        async with self._database.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection:
            for day in await partitions.expired_partitions(connection, self._config.retention_days):
                rows = await partitions.drop_partition(connection, day, self._writer)
                if rows is None:
                    busy += 1
                    log.info("历史分区正被使用，下一轮再删", day=day.isoformat())
                    continue
                dropped += 1
                pruned += rows
                log.info("历史分区已删除", day=day.isoformat(), rows=rows)
        return dropped, pruned, busy
