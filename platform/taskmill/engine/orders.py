"""Orders of an operator: what the worker was told, whether it obeys, and what it says of itself with each renewal."""

from __future__ import annotations

from taskmill.engine.attempts.slots import Slots
from taskmill.log import get_logger
from taskmill.states import Order
from taskmill.stores.workers.worker import Report

log = get_logger(__name__)


class Orders:
    """The standing order of one worker process; it outlives incarnations.

    DRAIN: nothing more is read, what has not started is given back, what runs goes on. RUN takes it back. An order counts
    as obeyed only once no read or claim is under way: from then on the number of tasks can but fall.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.cordoned = False
        self._number = 0  # 收到的命令
        self._seen = 0  # 做到的命令

    def take(self, order: Order, number: int) -> None:
        """Follow the order of the last reply; one that is known changes nothing."""
        if number == self._number and self.cordoned == (order is Order.DRAIN):
            return
        self._number, self.cordoned = number, order is Order.DRAIN
        returned = self._slots.hand_back_ready() if self.cordoned else 0
        self._slots.free.set()
        log.info("收到命令", order=order.value, number=number, running=len(self._slots.running), handed_back=returned)

    def report(self, *, began: bool, stopping: bool, doubtful: bool) -> Report:
        """Return what to say now; `doubtful`: a claim of unknown outcome may still turn up."""
        slots = self._slots
        quiet = slots.reserved == 0 and not slots.ready and not doubtful
        if quiet or not self.cordoned:
            self._seen = self._number
        # 停读之后连没写下的结果也要算：行还没结算，任务就还在手里
        running = len(slots.known()) if self.cordoned else len(slots.running)
        idle = self.cordoned and quiet and running == 0
        return Report(running, draining=stopping, ready=began and not stopping and not idle, order_seen=self._seen)
