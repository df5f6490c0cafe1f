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
    """Samples of one process: monotonic time, seconds run and seconds waited since its start."""

    pid: int
    threads: bool = False  # 所有线程之和，否则只看主线程
    samples: list[tuple[float, float, float]] = field(default_factory=list)

    def sample(self) -> None:
        """Note where it stands; nothing if the process is gone."""
        pattern = "task/*/schedstat" if self.threads else "schedstat"
        try:
            found = [path.read_text().split() for path in Path(f"/proc/{self.pid}").glob(pattern)]
        except OSError:
            return
        if found:
            run, waited = (sum(int(each[index]) for each in found) / 1e9 for index in (0, 1))
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
