"""How long processes waited for a core, so that what other work on the machine costs is not laid at the product's door.

The kernel counts it for each thread (`/proc/PID/schedstat`: nanoseconds run, nanoseconds waited). Where there is no such file,
nothing is counted and the bars hold as they stand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Meter:
    """Samples of a process's main thread: monotonic time, seconds run and seconds waited since its start."""

    pid: int
    samples: list[tuple[float, float, float]] = field(default_factory=list)

    def sample(self) -> None:
        """Note where it stands; nothing if the process is gone."""
        try:
            run, waited, _ = (int(word) / 1e9 for word in Path(f"/proc/{self.pid}/schedstat").read_text().split())
        except (OSError, ValueError):
            return
        self.samples.append((time.monotonic(), run, waited))

    def waited(self, begin: float, end: float) -> float:
        """Return the seconds waited between two times, as finely as the samples lie."""
        before = max((waited for at, _, waited in self.samples if at <= begin), default=0.0)
        after = next((waited for at, _, waited in self.samples if at >= end), None)
        return max(0.0, (after if after is not None else self.samples[-1][2] if self.samples else before) - before)

    def factor(self) -> float:
        """Return by how much other work slowed the process down from the first sample to the last (1.0: not at all)."""
        if len(self.samples) < 2:
            return 1.0
        (_, run, waited), (_, last_run, last_waited) = self.samples[0], self.samples[-1]
        return 1.0 + (last_waited - waited) / max(last_run - run, 1e-3)
