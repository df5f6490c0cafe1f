"""An SVG of two runs, one above the other: pods, tasks waiting and tasks running over time. No library, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from taskmill.kube.scale.simulate.compare import Result
from taskmill.kube.scale.simulate.world import Record

WIDTH, HEIGHT = 960, 260  # 一幅的大小，像素
LEFT, RIGHT, TOP, BOTTOM = 56, 56, 44, 30
POINTS = 900  # 一条线最多画多少个点
PODS, WAITING, RUNNING = "#2563eb", "#dc2626", "#16a34a"
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#334155}.t{font-weight:600;font-size:14px}"
    ".g{stroke:#e2e8f0}.w{fill:none;stroke-width:1.5}"
)
Sample = tuple[float, int, int, int]


def draw(title: str, runs: Sequence[tuple[Result, Record]]) -> str:
    """Return an SVG document with one panel per run, all on the same scales."""
    end = max((record.samples[-1][0] for _, record in runs if record.samples), default=1.0)
    pods = max((sample[1] for _, record in runs for sample in record.samples), default=1)
    tasks = max((max(sample[2:]) for _, record in runs for sample in record.samples), default=1)
    panels = [_panel(index, result, record, end, _nice(pods), _nice(tasks)) for index, (result, record) in enumerate(runs)]
    total = HEIGHT * len(runs) + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<rect width="{WIDTH}" height="{total}" fill="#fff"/>{"".join(panels)}{_legend(total)}</svg>\n'
    )


def _panel(index: int, result: Result, record: Record, end: float, pods: int, tasks: int) -> str:
    top = index * HEIGHT + TOP
    height, width = HEIGHT - TOP - BOTTOM, WIDTH - LEFT - RIGHT
    words = (
        f"{result.trace}, {result.policy}: {result.late_percent:g} % late, {result.pod_hours:g} pod-hours, "
        f"{result.interrupted} interrupted"
    )
    parts = [f'<text class="t" x="{LEFT}" y="{top - 14}">{escape(words)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - share)
        parts.append(
            f'<line class="g" x1="{LEFT}" x2="{LEFT + width}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{pods * share:g}</text>'
            f'<text x="{LEFT + width + 8}" y="{y + 4:.1f}">{tasks * share:g}</text>'
        )
        x = LEFT + width * share
        anchor = "middle" if 0 < share < 1 else ("start" if share == 0 else "end")
        parts.append(f'<text x="{x:.0f}" y="{top + height + 18}" text-anchor="{anchor}">{end * share / 60:.0f} min</text>')
    thin = record.samples[:: max(1, math.ceil(len(record.samples) / POINTS))]
    for field, color, limit in ((1, PODS, pods), (2, WAITING, tasks), (3, RUNNING, tasks)):
        line = _line([(sample[0], sample[field]) for sample in thin], end, limit, top, height, width)
        parts.append(f'<path class="w" stroke="{color}" d="{line}"/>')
    return "".join(parts)


def _line(values: Sequence[tuple[float, float]], end: float, limit: int, top: float, height: float, width: float) -> str:
    points = [(LEFT + width * moment / end, top + height * (1 - value / limit)) for moment, value in values]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _legend(total: int) -> str:
    entries = (("pods (left)", PODS), ("tasks ready (right)", WAITING), ("tasks running (right)", RUNNING))
    return "".join(
        f'<rect x="{LEFT + 190 * place}" y="{total - 16}" width="12" height="4" fill="{color}"/>'
        f'<text x="{LEFT + 18 + 190 * place}" y="{total - 9}">{words}</text>'
        for place, (words, color) in enumerate(entries)
    )


def _nice(value: int) -> int:
    """向上取到四等分后好读的数。"""
    step = 10 ** max(0, int(math.log10(max(1, value))) - 1) * 4
    return max(4, math.ceil(value / step) * step)
