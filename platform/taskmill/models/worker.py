"""Worker processes: one row per incarnation, kept alive by a lease."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from taskmill.models.base import Base


class Worker(Base):
    """One incarnation of one worker process. `dead_at` set: it can never renew again.

    `order_token` fences who may give orders; `order_no` counts the changes of the order and `order_seen` is the one that
    was obeyed last. `death_cause`: why the pod's container ended, as the cluster tells it. `settling`: the tasks that have
    ended here and whose outcome could not be written yet. `troubles`: what keeps it from its work.
    """

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    hostname: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    concurrency: Mapped[int]
    running: Mapped[int] = mapped_column(server_default=text("0"))
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    started_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    lease_until: Mapped[datetime]
    dead_at: Mapped[datetime | None]
    death: Mapped[str | None]
    pod: Mapped[str | None]
    pod_uid: Mapped[str | None]
    bundle: Mapped[str | None]
    ready: Mapped[bool] = mapped_column(server_default=text("false"))
    order_kind: Mapped[str] = mapped_column(server_default=text("'run'"))
    order_token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    order_no: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    order_seen: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    death_cause: Mapped[str | None]
    troubles: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    settling: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))

    __table_args__ = (Index("workers_lease", "lease_until", postgresql_where=text("dead_at is null")),)
