# ruff: noqa: INP001  单个脚本，不是包
"""Writes the made-up traces beside it (not recorded-*): the same seed gives the same files.

Run: .venv/bin/python benchmarks/traces/generate.py
"""

from __future__ import annotations

from pathlib import Path

from taskmill.kube.scale.simulate import synthetic, traces

SEED = 7
FILES = {"timers": 0.25, "sparse-singles": 0.25, "long-bursts": 0.25, "heavy-tail": 0.05}

if __name__ == "__main__":
    for name, scale in FILES.items():
        note = f"made up by benchmarks/traces/generate.py, seed {SEED}: {name}, {scale:g} of its length; times in seconds"
        traces.write(synthetic.build(name, SEED, scale), Path(__file__).with_name(f"{name}.csv"), note)
