"""Labels of metrics come from whoever submits: their number is bounded."""

from __future__ import annotations

import re

from taskmill.api import constants as c
from taskmill.api.telemetry import OTHER_QUEUES, Telemetry


def test_queues_beyond_the_limit_share_one_label_and_nothing_is_left_out_of_the_sums() -> None:
    telemetry, many = Telemetry(), c.METRICS_QUEUES_MAX * 30
    live = {(f"q{n}", state): n for n in range(many) for state in ("available", "running")}
    telemetry.backlog(live, {f"q{n}": float(n) for n in range(many)})
    telemetry.submitted(f"q{n}" for n in range(many))
    text = telemetry.render().decode()
    assert len(text) < 200_000
    shown = dict(re.findall(r'taskmill_tasks\{queue="(.*?)",state="running"\} (\S+)', text))
    assert len(shown) == c.METRICS_QUEUES_MAX + 1
    assert f"q{many - 1}" in shown and "q0" not in shown
    assert sum(float(number) for number in shown.values()) == sum(range(many))
    assert f'taskmill_queue_oldest_wait_seconds{{queue="{OTHER_QUEUES}"}} {many - c.METRICS_QUEUES_MAX - 1:.1f}' in text
    submitted = dict(re.findall(r'taskmill_tasks_submitted_total\{queue="(.*?)"\} (\S+)', text))
    assert float(submitted[OTHER_QUEUES]) == many - c.METRICS_QUEUES_MAX
