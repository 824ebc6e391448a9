"""A machine and a run that nobody has measured, for tests of what is made from records."""

import dataclasses
import json
import random
from types import SimpleNamespace

import loopnest as ln
from loopnest.bench.records import Failure, NotRun, Record, Results
from loopnest.layout.traffic import Traffic
from loopnest.machine.limits import limit_of
from loopnest.machine.records import Bandwidth, Cache, MachineCard, Peak
from loopnest.timing.budget import work_of
from loopnest.timing.environment import Environment, ThreadPool
from pytest_benchmark.stats import Stats

GB = 1e9
CACHES = (Cache(1, 32 << 10, 8, 64, False), Cache(2, 1 << 20, 8, 64, False), Cache(3, 32 << 20, 16, 64, True))
CARD = MachineCard(
    cpu="a processor",
    cores=4,
    system="Linux x86_64",
    isa_levels=("v1", "v3"),
    caches=CACHES,
    peaks=tuple(
        Peak(isa, dtype, threads, figure * threads * GB / wide)
        for isa, figure in (("v1", 25.0), ("v3", 100.0))
        for dtype, wide in (("float32", 1), ("float64", 2))
        for threads in (1, 4)
    ),
    bandwidths=tuple(
        Bandwidth(level, kind, threads, figure * factor * times * GB)
        for level, figure, at_once in (("L1", 200.0, 4), ("L2", 100.0, 4), ("L3", 50.0, 4), ("memory", 20.0, 2))
        for kind, factor in (("read", 1.0), ("copy", 1.1), ("triad", 0.9))
        for threads, times in ((1, 1), (4, at_once))
    ),
    latencies={"FMA": 1.25e-9, "L1": 1.25e-9, "L2": 4e-9, "L3": 15e-9, "memory": 100e-9},
    clock=3.2e9,
    disturbances=("it rained",),
    warnings=("it rained",),
    pools=(ThreadPool("NumPy", 4, "OpenBLAS 0.3", "Haswell"),),
    measured="2020-02-02T20:20:20+00:00",
)

ENVIRONMENT = Environment(
    cpu="a processor",
    cores=4,
    system="Linux x86_64",
    isa="v3",
    versions={"loopnest": "0.1.0", "NumPy": "2.4.6"},
    pools=(ThreadPool("NumPy", 2, "OpenBLAS 0.3", "Haswell"),),
    warnings=("a warning with <angles> & more",),
)


class Benchmark:
    """As much of pytest-benchmark's fixture as Bench.measure uses; `clock` is the bench's."""

    name, group, stats = "test", None, None

    def __init__(self, clock):
        self._clock, self.extra_info = clock, {}

    def pedantic(self, target, *, rounds, iterations):
        self.stats = SimpleNamespace(stats=Stats(), group=None)
        for _ in range(rounds):
            start = self._clock()
            for _ in range(iterations):
                target()
            self.stats.stats.update((self._clock() - start) / iterations)


def stats(*seconds):
    """pytest-benchmark's statistics of these times."""
    found = Stats()
    for time in seconds:
        found.update(time)
    return {**found.as_dict(), "iterations": 1, "data": sorted(seconds)}


def record(operation, impl, workload, seconds, *, suite=None, study="", card=CARD, samples=20, spread=0.02, **facts):
    """A record whose best time is `seconds`; the others are up to `spread` longer."""
    contract = ln.OPERATIONS[operation].contract
    shape = next(w.shape for w in contract.workloads if w.name == workload)
    flops, nbytes = contract.flops(**shape), contract.traffic(4, **shape)
    rng = random.Random(f"{operation} {impl} {workload} {seconds} {facts}")
    data = sorted([seconds, *(seconds * (1 + spread * rng.random()) for _ in range(samples - 1))])
    case = facts.get("case", "")
    made = Record(
        name=f"test_{study or operation}[{operation}-{workload}-{impl}-{facts.get('section', '')}{case}]",
        suite=suite or operation,
        study=study or operation,
        operation=operation,
        impl=impl,
        workload=workload,
        shape=dict(shape),
        dtype="float32",
        flops=flops,
        bytes=nbytes,
        threads=1,
        first_call=0.5,
        stats=stats(*data),
        **facts,
    )
    return dataclasses.replace(made, limit=limit_of(card, flops, nbytes, "float32", 1.0)) if card else made


def at_percent(operation, impl, workload, percent, **facts):
    """A record that reaches so many per cent of the made-up machine's limit."""
    contract = ln.OPERATIONS[operation].contract
    shape = next(w.shape for w in contract.workloads if w.name == workload)
    limit = limit_of(CARD, contract.flops(**shape), contract.traffic(4, **shape), "float32", 1.0)
    return record(operation, impl, workload, limit.seconds / (percent / 100), **facts)


def run():
    """Results of every suite: what each part of the report has something to show of."""
    rng = random.Random(0)
    records = []
    for name, suite in (("matmul", "matmul"), ("gelu", "gelu"), ("mlp_forward", "mlp")):
        operation = ln.OPERATIONS[name]
        ladder = [k for k in operation if not k.study and k.backend != "cuda"]
        family = [w for w in operation.contract.workloads if name != "matmul" or w.name.startswith("square-")]
        workloads = sorted(family, key=lambda w: work_of(operation.contract, w))[:4]
        for workload in workloads:
            for i, k in enumerate(ladder):
                percent = 0.01 * 8000 ** ((i + rng.random()) / (len(ladder) + 1))
                study = f"{name}, tanh form" if name == "gelu" else name
                records.append(at_percent(name, k.id, workload.name, percent, suite=suite, study=study, ladder=True))
    for name in ("add", "dot", "sum", "gelu"):
        operation = ln.OPERATIONS[name]
        for workload in operation.contract.workloads[:3]:
            for i, k in enumerate(k for k in operation if not k.study and k.backend != "cuda"):
                percent = 0.1 * 500 ** (i / len(list(operation)))
                records.append(at_percent(name, k.id, workload.name, percent, suite="vectorization"))
    orders = {
        "cpp.naive": "ijk",
        "cpp.jik": "jik",
        "cpp.reordered": "ikj",
        "cpp.kij": "kij",
        "cpp.jki": "jki",
        "cpp.kji": "kji",
    }
    slow = {"k": 8.0, "j": 40.0, "i": 2.0}
    layout = {"suite": "layout"}
    for workload in ("square-64", "square-512"):
        for impl, order in orders.items():
            how = {"study": "matmul, six loop orders", "case": order, **layout}
            records.append(at_percent("matmul", impl, workload, slow[order[-1]], **how))
        for impl in (*orders, "cpp.packed", "numpy.matmul"):
            for i, case in enumerate(("NN", "NT", "TN", "TT")):
                study = "matmul, operands row-major (N) or column-major (T)"
                how = {"study": study, "section": impl, "case": case, **layout}
                records.append(at_percent("matmul", impl, workload, 40.0 / (1 + i * len(impl) % 7), **how))
        for inner in (8, 32, 128, 512):
            for cols in (16, 64, 256):
                study = "matmul, sizes of the block of b (inner x cols)"
                kib = inner * cols * 4 / 1024
                how = {"study": study, "case": f"{inner} x {cols}, {kib:g} KiB", **layout}
                records.append(at_percent("matmul", "cpp.blocked", workload, 10 + cols / 16 + inner / 40, **how))
        how = {"study": "matmul, sizes of the block of b (inner x cols)", "case": "its own choice", **layout}
        records.append(at_percent("matmul", "cpp.blocked", workload, 33.0, **how))
    for workload in ("square-1024", "square-4096"):
        for backend in ("numba", "cpp"):
            for way, percent, misses in (("column_wise", 10.0, 16_000), ("row_wise", 73.0, 1_000)):
                found = Traffic(64, ("L1", "L2"), {"a": (16_000 - misses, misses, 0)}, {"a": 64_000}, (0, 0))
                how = {"study": "sum, along rows or down columns", "section": backend, **layout}
                how["traffic"] = found
                records.append(at_percent("sum", f"{backend}.{way}", workload, percent, **how))
    for step, percent in (("element", 60.0), ("2nd", 30.0), ("16th", 6.0)):
        how = {"study": "sum, every element or every n-th", "section": "cpp.simd", "case": f"every {step}", **layout}
        records.append(at_percent("sum", "cpp.simd", "square-1024", percent, **how))
    for further, percent in (("2ⁿ", 3.0), ("2ⁿ + 16", 12.0)):
        how = {
            "study": "transpose, rows 2ⁿ elements apart or 16 more",
            "section": "cpp.blocked",
            "case": further,
            **layout,
        }
        records.append(at_percent("transpose", "cpp.blocked", "square-1024", percent, **how))
    for impl, percent in (("cpp.naive", 5.0), ("cpp.blocked", 50.0)):
        study = "transpose, element by element or in blocks"
        records.append(at_percent("transpose", impl, "square-1024", percent, study=study, **layout))
    not_run = NotRun("matmul", "matmul", "matmul", "torch.missing", "square-64", "pip install 'loopnest[torch]'")
    failure = Failure("bench_gelu.py::test_gelu[x]", "WrongResult: <off by one>")
    return Results(ENVIRONMENT, tuple(records), (not_run,), (failure,), machine=CARD)


def through_json(data):
    """As it is after it has been in a file."""
    return json.loads(json.dumps(data))
