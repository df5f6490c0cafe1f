"""The simulator: the same seed gives the same run, drains interrupt nothing, traces and charts are well-formed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskmill.cli.main import run
from taskmill.errors import InputError
from taskmill.kube.scale.decide import Pods, ScalingSpec
from taskmill.kube.scale.simulate import chart, compare, record, synthetic, traces
from taskmill.kube.scale.simulate.policies import Hpa, Ours, baselines
from taskmill.kube.scale.simulate.traces import Setup, Task, make
from taskmill.kube.scale.simulate.world import World

RECORDED = Path(__file__).parents[4] / "benchmarks" / "traces"
HEAD = "second,queue,type,service_ms,known,failures\n"
QUEUE = """
apiVersion: taskmill.dev/v1alpha1
kind: TaskQueue
metadata: {name: emails}
spec:
  connection: {databaseSecretRef: {name: app-db}, brokerSecretRef: {name: app-broker}}
  concurrency: 2
  scaling: {maxReplicas: 3, objective: {startLatencySeconds: 60}}
"""


class Steps:
    """A policy that has a number of pods for each period."""

    name, period_s, horizon_s, grace_s = "steps", 10.0, 0.0, None

    def __init__(self, *numbers: int, drains: bool) -> None:
        self._numbers, self.drains = list(numbers), drains

    def pods(self, *_: Any) -> int:
        return self._numbers.pop(0) if len(self._numbers) > 1 else self._numbers[0]


def long_tasks(count: int, setup: Setup) -> traces.Trace:
    return make("long", [Task(1.0, 200.0, 1.0)] * count, setup, duration_s=400)


SETUP = Setup(spec=ScalingSpec(max_replicas=5, min_replicas=2), concurrency=1, boot_s=(5, 5))


def test_the_same_seed_gives_the_same_run() -> None:
    trace = synthetic.build("heavy-tail", 3, 0.05)
    assert synthetic.build("heavy-tail", 3, 0.05) == trace
    assert compare.compare(trace, 3) == compare.compare(trace, 3)
    assert synthetic.build("heavy-tail", 4, 0.05) != trace


@pytest.mark.parametrize(("drains", "interrupted"), [(True, 0), (False, 1)])
def test_scale_in_with_and_without_drain(drains: bool, interrupted: int) -> None:
    record = World(long_tasks(2, SETUP), Steps(2, 2, 1, drains=drains), 1).run()
    assert record.interrupted == interrupted
    assert len(record.waits) == 2 + interrupted
    assert (record.lost_s > 0) == (interrupted > 0)


def test_a_drain_that_takes_too_long_is_counted() -> None:
    setup = replace(SETUP, drain_timeout_s=60)
    assert World(long_tasks(2, setup), Steps(2, 2, 1, drains=True), 1).run().interrupted == 1


def test_demand_takes_a_draining_pod_back() -> None:
    record = World(long_tasks(2, SETUP), Steps(2, 2, 1, 2, drains=True), 1).run()
    assert max(sample[1] for sample in record.samples) == 2


def test_pod_hours_count_every_pod_until_it_is_gone() -> None:
    record = World(long_tasks(1, SETUP), Steps(2, drains=True), 1).run()
    assert record.pod_s == pytest.approx(2 * 400)


def test_hpa_doubles_at_most_or_adds_four_and_waits_five_minutes() -> None:
    setup = Setup(spec=ScalingSpec(max_replicas=40), concurrency=10)
    reading = World(long_tasks(1, setup), Steps(1, drains=False), 1)._reading()
    counts = Pods
    hpa = Hpa(setup)
    assert hpa.pods(0, replace(reading, ready=400), counts(ready=1)) == 5
    assert hpa.pods(15, replace(reading, ready=400), counts(ready=5)) == 10
    assert hpa.pods(30, replace(reading, ready=105), counts(ready=10)) == 10  # 在容差之内
    assert hpa.pods(45, replace(reading, ready=0), counts(ready=10)) == 10
    assert hpa.pods(400, replace(reading, ready=0), counts(ready=10)) == 1
    assert hpa.pods(415, None, counts(ready=3)) == 3


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.csv")), ids=lambda path: path.stem)
def test_shipped_traces_can_be_read(path: Path) -> None:
    trace = traces.read(path, Setup())
    assert list(trace.tasks) == sorted(trace.tasks, key=lambda task: task.due)
    assert trace.duration_s > trace.tasks[-1].due


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    trace = synthetic.build("timers", 1, 0.1)
    traces.write(trace, tmp_path / "a.csv", "made up")
    again = traces.read(tmp_path / "a.csv", trace.setup, queue="timers")
    assert len(again.tasks) == len(trace.tasks)
    assert again.tasks[0].known < again.tasks[0].due


def summary(created: int, run: int, started: int | None, finished: int | None, attempt: int = 1) -> dict[str, Any]:
    def text(second: int | None) -> str | None:
        return None if second is None else f"2026-11-24T10:{second // 60:02}:{second % 60:02}Z"

    return {
        "created_at": text(created),
        "run_at": text(run),
        "started_at": text(started),
        "finished_at": text(finished),
        "attempt": attempt,
        "worker_id": "w",
    }


def test_a_trace_is_recorded_from_finished_tasks() -> None:
    late, planned = summary(100, 100, 107, 110), summary(10, 70, 71, 75)
    again, never = summary(80, 130, 131, 133, attempt=3), summary(90, 90, None, 95)
    past, waiting = summary(105, 1, 106, 107), {**summary(95, 95, 96, 3_000), "worker_id": None}
    trace = record.trace_of("emails", [late, planned, again, never, past, waiting])
    assert trace.name == "emails"
    assert trace.tasks == (Task(0, 4, -60), Task(10, 2, 10, failures=2), Task(30, 3, 30), Task(35, 1, 35))
    with pytest.raises(InputError, match="no finished task of queue emails"):
        record.trace_of("emails", [never])
    with pytest.raises(InputError, match=r"span 31\.0 days, at most 31"):
        record.trace_of(
            "emails", [{**planned, "created_at": "2026-10-24T10:00:59Z", "run_at": "2026-10-24T10:00:59Z"}, again]
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n", "no column second, queue"), ("second,queue,type,service_ms\nx,q,t,5\n", "line 2"),
     ("second,queue,type,service_ms\n", "no tasks"),
     (f"{HEAD}nan,q,t,5,0,0\n", "line 2: second nan is not between 0 and 2.6784e+06"),
     (f"{HEAD}2678400.1,q,t,5,0,0\n", "line 2: second"), (f"{HEAD}1,q,t,-1,0,0\n", "line 2: service_ms"),
     (f"{HEAD}1,q,t,inf,0,0\n", "line 2: service_ms"), (f"{HEAD}1,q,t,604800001,0,0\n", "line 2: service_ms"),
     (f"{HEAD}1,q,t,5,2,0\n", "line 2: known"), (f"{HEAD}1,q,t,5,0,1000\n", "line 2: failures")],
)  # fmt: skip
def test_a_bad_trace_is_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        traces.read(tmp_path / "bad.csv", Setup())
    assert words in caught.value.message()["en"]


def test_a_trace_at_its_limits_is_read(tmp_path: Path) -> None:
    (tmp_path / "edge.csv").write_text(f"{HEAD}0,q,t,0,-315360000,0\n2678400,q,t,604800000,2678400,999\n")
    assert traces.read(tmp_path / "edge.csv", Setup()).tasks == (
        Task(0, 0, -315_360_000),
        Task(2_678_400, 604_800, 2_678_400, failures=999),
    )


def test_the_chart_is_an_svg_with_both_policies() -> None:
    trace = synthetic.build("timers", 1, 0.1)
    rival = baselines(trace.setup)[0]
    text = chart.draw("a < b", [compare.simulate(trace, policy, 1) for policy in (Ours(trace.setup), rival)])
    root = ET.fromstring(text)  # noqa: S314  自己刚画的
    assert root.tag.endswith("svg")
    assert "timers, taskmill:" in text
    assert "timers, hpa:" in text


def test_the_command_replays_a_file_under_a_taskqueue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queue.yaml").write_text(QUEUE)
    trace = str(RECORDED / "sparse-singles.csv")
    svg = tmp_path / "out.svg"
    command = ["scale", "simulate", "--trace", trace, "--queue", str(tmp_path / "queue.yaml"), "--chart", str(svg)]
    assert run([*command, "-o", "name"]) == 0
    assert capsys.readouterr().out.split()[0] == "taskmill"
    assert svg.read_text().startswith("<svg")
    assert run(["scale", "simulate", "--trace", "nothing"]) == 2
    assert run([*command, "--rival", "nobody"]) == 2
    (tmp_path / "queue.yaml").write_text("kind: Pod")
    assert run(command) == 2
