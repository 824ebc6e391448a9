"""Draw README's picture, docs/ladder.svg: the ladder of matmul at n = 512 in float32, every rung that runs here.

    pip install '.[all]' && python scripts/make_ladder.py

It takes some two minutes, most of them for the two slowest rungs. The rungs that take less than a second are timed in
turn, in rounds; the others once. The lines are this machine's limits for one thread and for all.

The GPU's ladder stands below it if docs/gpu.json, the results of `loopnest bench gpu` on a GPU, exists. Without it the
GPU's rungs are named as not timed.
"""

from __future__ import annotations

import functools
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
from loopnest.bench.choices import one_size
from loopnest.bench.records import Results
from loopnest.machine.card import card
from loopnest.operations.matmul import matmul
from loopnest.output.pictures import CARD, LIMIT, Picture, colour_of
from loopnest.output.text import three_digits
from loopnest.timing.environment import environment
from loopnest.timing.turns import Turn, run_rounds

N = 512
FLOPS = 2 * N**3
FILE = Path(__file__).parents[1] / "docs" / "ladder.svg"
OF_A_GPU = FILE.with_name("gpu.json")


def measured() -> dict[str, float]:
    """GFLOP/s of each rung that runs here, by id, in reading order."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((N, N)).astype(np.float32) for _ in range(2))
    out = np.empty_like(a)
    seconds, quick = {}, []
    for k in matmul:
        if not k.available() or k.simulated():
            continue
        call = functools.partial(k, a, b, out=out)
        k(a[:8, :8].copy(), b[:8, :8].copy())  # what compiles does it here
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        print(f"{k.id}: {first:.3g} s", flush=True)
        seconds[k.id] = first
        if first < 1:
            quick.append(Turn(k.id, call))
    run_rounds(quick, seconds=30)
    seconds |= {turn.name: turn.best for turn in quick}
    return {id: FLOPS / s / 1e9 for id, s in seconds.items()}


def timed_on_a_gpu() -> tuple[str, dict[str, float]]:
    """The title and GFLOP/s of the GPU's ladder, on the largest workload that most of its rungs ran."""
    if not OF_A_GPU.exists():
        return "", {}
    run = Results.load(OF_A_GPU)
    records = [r for r in run.records if r.study == "matmul, float32" and not r.beyond_limit]
    if not records:
        return "", {}
    workload, rows = one_size(records)
    where = f" on {run.machine.cpu}" if run.machine else ""
    return f"matmul, {workload}, float32, GFLOP/s,{where}", {r.impl: r.gflops for r in rows if r.workload == workload}


def draw(rates: dict[str, float]) -> str:
    """The bars, slowest first, on a logarithmic scale."""
    here = card()
    threads = max(p.threads for p in here.peaks)
    limits = {f"limit, {n} thread{'s' * (n > 1)}": here.peak("float32", n) / 1e9 for n in sorted({1, threads})}
    gpu_title, gpu_rates = timed_on_a_gpu()
    absent = [k.id for k in matmul.rungs() if k.backend in ("cuda", "cuda_cpp") and k.id not in gpu_rates]
    title = f"matmul, n = {N}, float32, GFLOP/s, on {environment().cpu}"
    heights = [0.2 * len(some) + 1.1 for some in (rates, gpu_rates) if some]
    picture = Picture(8.6, sum(heights), len(heights), title=title, height_ratios=heights)
    with picture as axes:
        ax = bars(axes[0, 0], title, rates, 1.6 + len(limits), max(limits.values()) * 1.5)
        for line, (name, limit) in enumerate(limits.items()):
            ax.axvline(limit, color=LIMIT, linewidth=1, linestyle="--")
            ax.text(limit, -1 - line, f"{name} ", color=LIMIT, fontsize=7.5, ha="right", va="center")
        if gpu_rates:
            bars(axes[1, 0], gpu_title, gpu_rates, 0.6, max(gpu_rates.values()) * 1.5)
        if absent:
            ax.set_xlabel(textwrap.fill(f"not timed, they need a GPU: {', '.join(absent)}", 110), fontsize=7.5)
    return picture.svg


def bars(ax: Any, title: str, rates: dict[str, float], below: float, most: float) -> Any:
    """A bar a rung, the fastest on top, with room below them."""
    ordered = sorted(rates.items(), key=lambda item: item[1])
    for row, (id, rate) in enumerate(ordered):
        ax.barh(row, rate, color=colour_of(id), height=0.72)
        ax.text(rate / 1.1, row, three_digits(rate), va="center", ha="right", fontsize=8, color=CARD)
    ax.set_yticks(range(len(ordered)), [id for id, _ in ordered], fontsize=8, family="monospace")
    ax.set_xscale("log")
    ax.set_xlim(min(rates.values()) / 6, most)
    ax.set_ylim(-below, len(ordered) - 0.4)
    ax.grid(visible=False, axis="y")
    ax.set_title(title)
    return ax


if __name__ == "__main__":
    FILE.write_text(draw(measured()), encoding="utf-8")
    print(f"written: {FILE}")
