"""The products of `loopnest bench sweep`, asked of loopnest, NumPy, torch and JAX as bench_peers.py asks them.

`python benchmarks/bench_sweep.py points.json` measures the points of a file, a list of loopnest.bench.sweep.Point,
with this process's own environment.
"""

import argparse
import dataclasses
from pathlib import Path

import loopnest as ln
import msgspec
from bench_peers import product
from loopnest.bench.peers import OURS, measure_all
from loopnest.bench.sweep import Point, operands

LONG = 2e9
"""Flops from which on a contender is asked in one way only: its others differ by the cost of a call or of an array."""


def works(points):
    for point in points:
        a, b = operands(point)
        work = product("sweep", point.name, a, b)
        if point.flops > LONG:
            first = {form.contender: form for form in reversed(work.forms)}
            work = dataclasses.replace(work, forms=[*first.values()])
        why = getattr(ln.matmul, "why", None)
        path = {OURS: str(why(a, b))} if why else {}
        yield dataclasses.replace(work, item=dataclasses.replace(work.item, notes=path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Points of `loopnest bench sweep`, as lines of JSON.")
    parser.add_argument("points", type=Path, help="a JSON file")
    parser.add_argument("--events", type=int, default=1, metavar="FD", help="the descriptor to write to")
    asked = parser.parse_args()
    points = msgspec.json.decode(asked.points.read_bytes(), type=list[Point])
    measure_all("sweep", lambda: works(points), quick=True, events=asked.events)
