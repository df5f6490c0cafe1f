"""What must become of each kind of task, whatever fails around it."""

from __future__ import annotations

from dataclasses import dataclass

COMPLETED = frozenset({"completed"})
DISCARDED = frozenset({"discarded"})
EITHER = COMPLETED | DISCARDED
PROBE = "chaos.probe"


@dataclass(frozen=True, slots=True)
class Expected:
    """How a kind ends. `attempts`: how many attempts it then has used, None if that is open.

    `outlives`: its code may still run after Taskmill has ended the attempt. `deadly`: it may take its worker with it.
    """

    states: frozenset[str] = COMPLETED
    attempts: int | None = 1
    outlives: bool = False
    deadly: bool = False


ENDS = {
    PROBE: Expected(),
    "chaos.short": Expected(),
    "chaos.long": Expected(),
    "chaos.tight": Expected(),
    "chaos.thread": Expected(),
    "chaos.block": Expected(),
    "chaos.flaky": Expected(attempts=3),
    "chaos.fails": Expected(DISCARDED, attempts=2),
    "chaos.discards": Expected(DISCARDED),
    "chaos.snoozes": Expected(),
    "chaos.expires": Expected(EITHER, attempts=None),
    "chaos.generator_exit": Expected(DISCARDED),
    "chaos.generator_exit_await": Expected(DISCARDED),
    "chaos.generator_exit_thread": Expected(DISCARDED),
    "chaos.base_exception": Expected(DISCARDED),
    "chaos.interrupt_thread": Expected(DISCARDED),
    "chaos.sys_exit": Expected(DISCARDED),
    "chaos.exit_in_child": Expected(DISCARDED, attempts=None, deadly=True),
    "chaos.os_exit": Expected(DISCARDED, attempts=None, deadly=True),
    "chaos.swallows": Expected(EITHER, attempts=None, outlives=True),
    "chaos.overruns": Expected(DISCARDED, outlives=True),
    "chaos.spawns": Expected(),
    "chaos.leaks": Expected(),
    "chaos.huge_result": Expected(),
    "chaos.too_huge_result": Expected(DISCARDED),
    "chaos.unencodable": Expected(DISCARDED),
    "chaos.huge_args": Expected(),
    "chaos.parent": Expected(attempts=None),
}
DEADLY = frozenset(kind for kind, end in ENDS.items() if end.deadly)
