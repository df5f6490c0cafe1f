# ruff: noqa: INP001  单个脚本，不是包
"""The report of the peers as a chart: SVG, written here, light and dark."""

from __future__ import annotations

from html import escape
from typing import Any

from benchmarks.peers.page import TITLES

WIDTH = 760
LABEL = 130  # 系统名占的宽度
FIGURE = 70  # 柱子右边的数字
ROW, BAR, TITLE, GAP = 22, 14, 26, 18
MARGIN = 16
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.own { font-weight: 600 }
.postgresql { fill: #2f6fbb }
.redis { fill: #b9770e }
.ground { fill: #ffffff }
.axis { stroke: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ground { fill: #0d1117 } .postgresql { fill: #6aa5e8 } .redis { fill: #e3a84a } .axis { stroke: #6e7681 }
}
"""
LEGEND = (("postgresql", "in PostgreSQL, fsync on"), ("redis", "in Valkey, append-only file each second"))


def chart(report: dict[str, Any]) -> str:
    """Return the chart: a panel per measure, its systems from fast to slow."""
    parts, top = _legend(MARGIN), MARGIN + ROW + GAP
    for measure, title in TITLES.items():
        panel, top = _panel(report, measure, title, top)
        parts += panel
    about = "Tasks per second of Taskmill and other systems on the same machine; longer is better."
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" role="img">'
    ground = f'<rect class="ground" width="{WIDTH}" height="{top}"/>'
    lines = [head, f"<title>{about}</title>", f"<style>{STYLE}</style>", ground, *parts, "</svg>"]
    return "\n".join(lines) + "\n"


def _legend(top: int) -> list[str]:
    parts: list[str] = []
    for number, (name, words) in enumerate(LEGEND):
        left = MARGIN + number * 240
        parts.append(f'<rect class="{name}" x="{left}" y="{top}" width="{BAR}" height="{BAR}"/>')
        parts.append(f'<text x="{left + BAR + 6}" y="{top + 12}">{escape(words)}</text>')
    return parts


def _panel(report: dict[str, Any], measure: str, title: str, top: int) -> tuple[list[str], int]:
    rows = [(s["system"], s["store"], s["figures"][measure]["tasks_per_second"], name == "taskmill")
            for name, s in report["systems"].items() if measure in s["figures"]]  # fmt: skip
    if not rows:
        return [], top
    rows.sort(key=lambda row: -row[2])
    longest = rows[0][2]
    parts = [f'<text class="title" x="{MARGIN}" y="{top + 14}">{escape(title)}</text>']
    start, left = top + TITLE, MARGIN + LABEL
    for number, (system, store, rate, own) in enumerate(rows):
        y = start + number * ROW
        width = max(1.0, rate / longest * (WIDTH - left - FIGURE - MARGIN))
        weight = ' class="own"' if own else ""
        parts.append(f'<text{weight} x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(system)}</text>')
        parts.append(f'<rect class="{store}" x="{left}" y="{y}" width="{width:.1f}" height="{BAR}"/>')
        parts.append(f'<text{weight} x="{left + width + 6:.1f}" y="{y + 12}">{rate:,.0f}</text>')
    end = start + len(rows) * ROW
    parts.append(f'<line class="axis" x1="{left}" x2="{left}" y1="{start - 4}" y2="{end - 4}"/>')
    return parts, end + GAP
