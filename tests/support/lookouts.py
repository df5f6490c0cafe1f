"""Lookouts whose looks are costly, as beside a transaction that keeps dead rows from being cleaned up."""

from __future__ import annotations

from taskmill.clock import FakeClock
from taskmill.engine.periodic.lookout import Lookout
from taskmill.stores.database import Database


class Costly(FakeClock):
    """A clock on which half a second passes whenever somebody looks at it."""

    def monotonic(self) -> float:
        self.advance(0.5)
        return super().monotonic()


def costly_lookout(database: Database) -> tuple[Lookout, Costly]:
    """Return a lookout that serves others too, and whose first look at everything takes long."""
    clock = Costly()
    lookout = Lookout(database, clock=clock)
    lookout.wake(lambda _: False, lambda: None)
    return lookout, clock
