"""The products of `loopnest bench sweep`, asked of loopnest, NumPy, torch and JAX as bench_peers.py asks them.

Other operations are asked of loopnest, NumPy and torch.

`python benchmarks/bench_sweep.py points.json` measures the points of a file, a list of loopnest.bench.sweep.Point,
with this process's own environment.
"""

import argparse
import dataclasses
import functools
from pathlib import Path

import loopnest as ln
import msgspec
import numpy as np
from bench_peers import chosen, library, product
from loopnest.bench.peers import OURS, Form, Item, Work, arrays, measure_all
from loopnest.bench.sweep import Point, operands
from loopnest.operation import Workload
from loopnest.verify import compare

LONG = 2e9
"""Flops from which on a contender is asked in one way only: its others differ by the cost of a call or of an array."""


PEERS = {
    "dot": ("np.dot(x, y)", "torch.dot(x, y)"),
    "sum": ("np.sum(x)", "torch.sum(x)"),
    "add": ("np.add(x, y, out=out)", "torch.add(x, y, out=out)"),
    "transpose": ("np.copyto(out, x.T)", "out.copy_(x.T)"),
    "relu": ("np.maximum(x, 0, out=out)", "torch.clamp(x, min=0, out=out)"),
    "relu_backward": ("np.multiply(y, x > 0, out=out)", "aten.threshold_backward.grad_input(y, x, 0, grad_input=out)"),
    "sigmoid": ("", "torch.sigmoid(x, out=out)"),
    "sigmoid_backward": ("", "aten.sigmoid_backward.grad_input(y, torch.sigmoid(x), grad_input=out)"),
    "tanh": ("np.tanh(x, out=out)", "torch.tanh(x, out=out)"),
    "tanh_backward": ("", "aten.tanh_backward.grad_input(y, torch.tanh(x), grad_input=out)"),
    "softmax": ("", "torch.softmax(x, 1, out=out)"),
    "gelu": ("", "aten.gelu.out(x, approximate='tanh', out=out)"),
    "gelu_backward": ("", "aten.gelu_backward.grad_input(y, x, approximate='tanh', grad_input=out)"),
    "mse": ("np.mean(np.square(x - y))", "torch.nn.functional.mse_loss(x, y)"),
    "mse_backward": (
        "np.multiply(np.subtract(x, y, out=out), 2 / x.size, out=out)",
        "torch.sub(x, y, out=out).mul_(2 / x.numel())",
    ),
    "cross_entropy": ("", "torch.nn.functional.cross_entropy(x, y)"),
}
"""What NumPy and torch are asked, with operands x and y; "" if NumPy has no function for it."""

ELEMENTWISE = {"add", *(name for name in PEERS if name.startswith(("relu", "sigmoid", "tanh", "gelu")))}


def works(points):
    for point in points:
        yield matmul(point) if point.op == "matmul" else other(point)


def matmul(point):
    a, b = operands(point)
    work = product("sweep", point.name, a, b)
    if point.flops > LONG:
        first = {form.contender: form for form in reversed(work.forms)}
        work = dataclasses.replace(work, forms=[*first.values()])
    return dataclasses.replace(work, item=dataclasses.replace(work.item, notes={OURS: ln.matmul.why(a, b)}))


def other(point):
    operation = getattr(ln, point.op)
    contract, rng = operation.contract, np.random.default_rng(0)
    axes = list(contract.workloads[0].shape)
    shape = dict(zip(axes, (point.m, point.n) if len(axes) == 2 else (point.m * point.n,), strict=True))
    inputs = contract.sample(Workload(point.name, shape), point.dtype, rng).inputs
    names = {**dict(zip("xy", inputs, strict=False)), "out": np.zeros_like(operation(*inputs))}
    ours = f"ln.{point.op}({', '.join('xy'[: len(inputs)])}, out=out){chosen(operation)}"
    numpy, of_torch = PEERS[point.op]
    forms = [Form(OURS, ours, {"ln": ln, **names}, result_of(names["out"]))]
    forms += [Form("NumPy", numpy, {"np": np, **names}, result_of(names["out"]))] if numpy else []
    if torch := library("torch"):
        tensors = {name: torch.from_numpy(array) for name, array in names.items() if array.ndim}
        tensors.setdefault("out", torch.zeros(()))
        forms.append(Form("torch", of_torch, {"torch": torch, "aten": torch.ops.aten, **tensors}))
    moved = contract.traffic(np.dtype(point.dtype).itemsize, **shape)
    return Work(Item("sweep", point.name, "GB/s", moved), forms, check(point, contract, inputs))


def result_of(out):
    """np.copyto returns nothing: its result is in the memory that it was given."""
    return lambda returned: arrays(out if returned is None else returned)


def check(point, contract, inputs):
    """Holds a result to the contract's bound; of elementwise operations some 65,536 elements."""
    step = -(-point.size // 65_536) if point.op in ELEMENTWISE else 1

    @functools.cache
    def expected():
        some = [x.reshape(-1)[::step] for x in inputs] if point.op in ELEMENTWISE else inputs
        return contract.reference(*some)[0], contract.bound(*some)[0]

    def problems(results):
        (found,) = results
        found = found.reshape(-1)[::step] if point.op in ELEMENTWISE else found
        return compare(found, *expected(), np.dtype(point.dtype))

    return problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Points of `loopnest bench sweep`, as lines of JSON.")
    parser.add_argument("points", type=Path, help="a JSON file")
    parser.add_argument("--events", type=int, default=1, metavar="FD", help="the descriptor to write to")
    asked = parser.parse_args()
    points = msgspec.json.decode(asked.points.read_bytes(), type=list[Point])
    measure_all("sweep", lambda: works(points), quick=True, events=asked.events)
