"""`taskmill scale`: what the operator's scaler would do with a load, before anything is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from taskmill import constants as c
from taskmill.cli import phrases
from taskmill.cli.arguments import timestamp, usage
from taskmill.cli.failure import EXIT_FAILED
from taskmill.cli.language import in_language, words
from taskmill.cli.output import Column, Output, emit, output_option
from taskmill.cli.rest import Api, remote
from taskmill.states import FINAL

if TYPE_CHECKING:
    from taskmill.kube.scale.simulate.traces import Setup, Trace

COLUMNS = (
    Column("trace", "负载", "TRACE"),
    Column("policy", "策略", "POLICY"),
    Column("starts", "开始次数", "STARTS", rank=2),
    Column("late_percent", "迟到%", "LATE%"),
    Column("late", "迟到数", "LATE", rank=1),
    Column("p50_s", "等待p50", "P50_S", rank=3),
    Column("p95_s", "等待p95", "P95_S"),
    Column("p99_s", "等待p99", "P99_S"),
    Column("pod_hours", "Pod小时", "POD_HOURS"),
    Column("interrupted", "被中断", "INTERRUPTED"),
    Column("lost_hours", "白干小时", "LOST_HOURS", rank=1),
    Column("actions", "伸缩次数", "ACTIONS", rank=2),
    Column("met", "达标", "MET"),
)


@click.group()
def scale() -> None:
    """Try the scaling of a queue on a load, recorded or made up, without a cluster.

    Example: taskmill scale simulate
    """


@scale.command()
@click.argument("queue")
@click.option(
    "--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), required=True, help="The CSV file to write."
)
@click.option("--after", default=None, metavar="TIME", help="Only tasks made at or after this time, ISO 8601.")
@click.option("--before", default=None, metavar="TIME", help="Only tasks made before this time.")
@click.option("--most", type=click.IntRange(1), default=100_000, show_default=True, help="The newest so many, at most.")
@remote
def record(api: Api, queue: str, out: Path, after: str | None, before: str | None, most: int) -> None:
    """Write what QUEUE really had to do as a load for `scale simulate`: when its finished tasks were due and how long they ran.

    Example: taskmill scale record emails --after 2026-11-23T00:00:00Z --out emails.csv
    """
    from taskmill.kube.scale.simulate import record as recording
    from taskmill.kube.scale.simulate import traces

    query = {
        "queue": queue,
        "state": ",".join(sorted(FINAL)),
        "page_size": c.PAGE_SIZE_MAX,
        "created_after": timestamp(after, "--after"),
        "created_before": timestamp(before, "--before"),
    }
    trace = recording.trace_of(queue, _pages(api, query, most))
    note = f"recorded by taskmill scale record {queue}: {len(trace.tasks)} tasks; times in seconds since the first was due"
    traces.write(trace, out, note)
    click.echo(words(f"{len(trace.tasks)} 个任务写入 {out}", f"{len(trace.tasks)} tasks written to {out}"))


def _pages(api: Api, query: Mapping[str, object], most: int) -> Iterator[dict[str, Any]]:
    cursor, left = None, most
    while left > 0:
        page = api.get("/tasks", cursor=cursor, **query)
        yield from page["items"][:left]
        left -= len(page["items"])
        cursor = page.get("next_cursor")
        if not cursor:
            return


@scale.command()
@click.option(
    "--trace",
    "name",
    default="short-diurnal",
    show_default=True,
    help="A made-up load by name, or a CSV file with the columns second, queue, type, service_ms.",
)
@click.option("--all", "everything", is_flag=True, help="Every made-up load; exits with 1 when one breaks a bar.")
@click.option(
    "--queue",
    "manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="A TaskQueue (YAML) whose scaling, concurrency and drain are used.",
)
@click.option("--only", default=None, metavar="QUEUE", help="Of a CSV file, the tasks of this queue only.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same run.")
@click.option("--shorten", type=click.FloatRange(0.05, 1), default=1.0, help="Fraction of a made-up load's length.")
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=None,
    help="Write an SVG of pods and backlog: ours above the rival.",
)
@click.option("--rival", default="keda-tuned", show_default=True, help="The policy in the lower half of the chart.")
@output_option
@click.pass_context
def simulate(
    ctx: click.Context,
    name: str,
    everything: bool,
    manifest: Path | None,
    only: str | None,
    seed: int,
    shorten: float,
    chart: Path | None,
    rival: str,
    output: Output,
) -> None:
    """Replay a load under our scaler and under HPA, KEDA and Knative, and compare: late tasks, pod-hours, interruptions.

    The rivals are re-implemented from their documents. Late: started later than the queue's objective.

    Example: taskmill scale simulate --trace load.csv --queue taskqueue.yaml --chart load.svg
    """
    from taskmill.kube.scale.simulate import compare, synthetic

    setup = _setup(manifest) if manifest is not None else None
    names = synthetic.NAMES if everything else (name,)
    traces = [_trace(one, seed, shorten, setup, only) for one in names]
    if chart is not None:
        _chart(chart, traces[0], seed, rival)
    results = [result for trace in traces for result in compare.compare(trace, seed)]
    emit(compare.rows(results), output, COLUMNS, name="policy")
    broken = compare.violations(results) if everything else []
    for line in broken:
        click.echo(words("未达标：", "bar broken: ") + in_language(line), err=True)
    ctx.exit(EXIT_FAILED if broken else 0)


def _trace(name: str, seed: int, shorten: float, setup: Setup | None, only: str | None) -> Trace:
    from dataclasses import replace

    from taskmill.kube.scale.simulate import synthetic, traces

    if name in synthetic.NAMES:
        trace = synthetic.build(name, seed, shorten)
        if setup is None:
            return trace
        own = replace(trace.setup, spec=setup.spec, concurrency=setup.concurrency, drain_timeout_s=setup.drain_timeout_s)
        return replace(trace, setup=own)
    path = Path(name)
    if not path.is_file():
        raise usage(phrases.NO_LOAD(name=name, names=", ".join(synthetic.NAMES)))
    return traces.read(path, setup or traces.Setup(), only)


def _setup(path: Path) -> Setup:
    """清单里的字段；模拟不需要名字与命名空间。"""
    import yaml

    from taskmill.kube.crd.check import InvalidSpec
    from taskmill.kube.crd.model import parse_queue
    from taskmill.kube.scale.simulate.traces import Setup
    from taskmill.kube.scaling_spec import scaling_spec

    try:
        loaded: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise usage(phrases.NOT_YAML(file=path.name, error=error)) from error
    if not isinstance(loaded, dict) or loaded.get("kind") != "TaskQueue":
        raise usage(phrases.NOT_A_TASK_QUEUE(file=path.name))
    metadata = {"name": path.stem, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
    metadata |= loaded.get("metadata") or {}
    try:
        queue = parse_queue({**loaded, "metadata": metadata})
    except InvalidSpec as error:
        raise usage(phrases.SPEC_UNFIT(file=path.name, error=error)) from error
    drain = queue.spec.drain
    patience = float(drain.timeout_seconds) if drain.on_timeout == "Requeue" else float("inf")
    return Setup(spec=scaling_spec(queue), concurrency=queue.spec.concurrency, drain_timeout_s=patience)


def _chart(path: Path, trace: Trace, seed: int, rival: str) -> None:
    from taskmill.kube.scale.simulate import chart, compare
    from taskmill.kube.scale.simulate.policies import Ours, baselines

    found = {policy.name: policy for policy in baselines(trace.setup)}
    if rival not in found:
        raise usage(phrases.NO_RIVAL(name=rival, names=", ".join(found)))
    runs = [compare.simulate(trace, policy, seed) for policy in (Ours(trace.setup), found[rival])]
    path.write_text(chart.draw(f"{trace.name}: taskmill and {rival}", runs), encoding="utf-8")
