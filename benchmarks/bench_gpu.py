"""What `loopnest bench gpu` does in processes of their own: judge the GPU's rungs, run them once, time them.

`python benchmarks/bench_gpu.py timing` writes events as lines of JSON. "matmul, float32 / square-512 / cuda.tiled" is
where it is: study, workload, contender. After a contender that ends the process, another process goes on from that
workload, without the contender.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

import loopnest as ln
import msgspec
import numpy as np
from gpu_contenders import COPY, copy_contender, read_smi, start_smi, torch_contender
from loopnest.arrays import REDUCED, dtype_called
from loopnest.backends import SIMULATED, TORCH, cuda_device
from loopnest.backends.launches import recorded
from loopnest.bench.gpu import DEAD, REHEARSED
from loopnest.bench.measure import ON_A_GPU, TOO_SLOW
from loopnest.bench.records import Check, Failure, NotRun, Record, Transfer, kept
from loopnest.machine.gpu import FULL, Sizes, gpu_card, gpu_limit, probes
from loopnest.machine.records import MachineCard
from loopnest.operation import Workload
from loopnest.timing.environment import environment
from loopnest.timing.gpu_clock import GpuClock
from loopnest.timing.turns import run_rounds, seconds_of
from loopnest.verify import (
    Case,
    compare_all,
    exact_and_bound,
    judge,
    layout_cases,
    poison_of,
    size_cases,
    special_cases,
    varied,
)

DTYPES = ("float32", "bfloat16")  # That are timed
ROUNDS = 1.5  # Seconds of the rounds of a work
PATIENCE = 0.3  # Seconds of a launch that is still waited for
OF_A_RUNG = 1.5  # Seconds for the cases of a rung's contract
ROWS = 32  # Rows of a large result that are compared with the exact one
TRANSFERRED = 1 << 28  # Bytes of a copy from or to the host

ROWS_OF = {"matmul": (0,), "gelu": (0,), "gelu_backward": (0, 1), "mlp_forward": (0,)}
"""The inputs whose rows belong to the results' rows: of these operations some rows are judged, of others all."""


@dataclasses.dataclass(frozen=True)
class Work:
    study: str
    operation: ln.Operation
    workload: Workload
    dtype: np.dtype

    @property
    def unit(self):
        """Study and workload."""
        return f"{self.study} / {self.workload.name}"

    def amounts(self):
        """Flops, and compulsory bytes."""
        contract, shape = self.operation.contract, self.workload.shape
        return contract.flops(**shape), contract.traffic(self.dtype.itemsize, **shape)


def rungs(operation):
    return [k for k in operation.rungs() if k.backend in ON_A_GPU]


def workloads(rehearse):
    """The workloads that are timed, by operation; tiny ones for a rehearsal."""
    squares = [16] if rehearse else [512, 1024, 2048, 4096, 8192]
    exponents = [6] if rehearse else [20, 22, 24, 26, 28]
    layers = {"small-mlp-512": (512, 768), "small-mlp-4096": (4096, 768), "xl-mlp-2048": (2048, 1600)}
    layers = {"tiny": (3, 4)} if rehearse else layers
    mlps = [Workload(f"gpt2-{name}", {"t": t, "d": d, "h": 4 * d, "e": d}) for name, (t, d) in layers.items()]
    flat = [Workload(f"elements-{1 << e}", {"m": 1 << e - 6, "n": 1 << 6}) for e in exponents]
    return {
        "matmul": [Workload(f"square-{n}", {"m": n, "k": n, "n": n}) for n in squares],
        **dict.fromkeys(("gelu", "gelu_backward"), flat),
        **dict.fromkeys(("mlp_forward", "mlp_backward"), mlps),
    }


def works(rehearse):
    """Each operation in each of DTYPES that its GPU rungs take, from the smallest workload up."""
    for name, each in workloads(rehearse).items():
        operation = ln.OPERATIONS[name]
        for dtype in (name for name in DTYPES if any(name in k.dtypes for k in rungs(operation))):
            for workload in each:
                yield Work(f"{name}, {dtype}", operation, workload, dtype_called(dtype))


class Run:
    """A process's part of a run: whom it leaves out, and where it reports."""

    def __init__(self, asked, tell):
        self.tell, self.rehearse, self.without = tell, asked.rehearse, set(asked.without)
        self.card = msgspec.json.decode(asked.card.read_bytes(), type=MachineCard) if asked.card else None
        self.seconds = {}  # by study and contender: the last work's amount, and the seconds that it took

    def failed(self, name, error):
        """Report an error. One that has broken the device's context ends the process: each later call would fail."""
        self.tell("failures", Failure(name, f"{type(error).__name__}: {error}"))
        if not self.rehearse and not alive():
            sys.exit(DEAD)

    def may(self, work, k):
        """Whether a rung is to run; the reason is reported where it is not."""
        flops, nbytes = work.amounts()
        before, seconds = self.seconds.get((work.study, k.id), (1, 0.0))
        reason = k.why_unavailable()
        if f"{work.study} / {k.id}" in self.without:
            reason = "it ended the process that timed it on a workload before"
        elif k.simulated() and not self.rehearse:
            reason = SIMULATED
        elif not reason and seconds * max(flops, nbytes) / before > PATIENCE:
            reason = TOO_SLOW
        if reason:
            self.tell("not_run", not_run(work, k.id, reason))
        return not reason


def not_run(work, impl, reason):
    return NotRun("gpu", work.study, work.operation.name, impl, work.workload.name, reason)


def alive():
    """Whether the device's context still works after an error."""
    try:
        cuda_device.gpu().call("cuCtxSynchronize")
    except Exception:
        return False
    return True


# --- contracts, and one call each for a sanitizer


def contract(run):
    """Each rung's cases in a random order, for some time: `pytest -m device` judges all of them."""
    for operation in ln.OPERATIONS.values():
        for k in rungs(operation):
            study = f"contract of {operation.name}"
            if f"{study} / {k.id}" in run.without:
                continue
            run.tell("at", f"{study} / all cases / {k.id}")
            if reason := k.why_unavailable():
                run.tell("not_run", NotRun("gpu", study, operation.name, k.id, "", reason))
                continue
            try:
                run.tell("checks", judged(operation, k, 1 if run.rehearse else 10_000))
            except Exception as error:
                run.failed(f"{study}, {k.id}", error)
            if not run.rehearse and not alive():
                sys.exit(DEAD)


def judged(operation, k, most):
    kinds = (size_cases, layout_cases, special_cases)
    cases = [case for name in k.dtypes for kind in kinds for case in varied(kind(k, dtype_called(name)))]
    if most == 1:  # the simulators take long: the smallest one with elements
        cases = [case for case in cases if all(size for _, size in case.sizes)]
        cases = [min(cases, key=Case.work)]
    random.Random(0).shuffle(cases)
    judge(k, cases[0])  # what compiles does it here
    end, done, problems = time.perf_counter() + OF_A_RUNG, 0, []
    for case in cases[:most]:
        problems += [f"{case}: {problem}" for problem in judge(k, case)]
        done += 1
        if time.perf_counter() > end or len(problems) > 5:
            break
    return Check("contract", f"{operation.name} {k.id}", done, tuple(problems[:5]))


def sanitized(name, rehearse):
    """One call of each rung of an operation in each of its dtypes, with several blocks and ragged edges. Lines on
    standard output say where it is; the last one says how many calls there were."""
    operation, calls = ln.OPERATIONS[name], 0
    for k in rungs(operation):
        if k.why_unavailable():
            print(f"left out: {k.id}: {k.why_unavailable()}", flush=True)
            continue
        for dtype in k.dtypes:
            print(f"at: {k.id}, {dtype}", flush=True)
            lengths = (3, 5, 2, 4) if rehearse else (131, 40, 270, 9)
            for problem in judge(k, Case.of(operation, dtype_called(dtype), lengths)):
                print(f"wrong: {k.id}, {dtype}: {problem}", flush=True)
            calls += 1
    print(f"calls: {calls}", flush=True)


# --- times


def timing(run, start):
    run.tell("environment", environment())
    if start is None and "limits / card" not in run.without:
        run.tell("at", "limits / the GPU / card")
        try:
            limits(run)
        except Exception as error:
            run.failed("the GPU's limits", error)
    clock = None if run.rehearse else GpuClock()
    for work in itertools.dropwhile(lambda work: start not in (None, work.unit), works(run.rehearse)):
        if work.unit in run.without:
            continue
        try:
            run.tell("at", f"{work.unit} / inputs")
            time_work(work, run, clock)
        except Exception as error:
            run.failed(work.unit, error)
    run.tell("environment", environment())


def limits(run):
    if run.rehearse:
        for probe in probes(1, Sizes(blocks=1, steps=3, memory=1 << 14, cached=1 << 13, passes=1)):
            for launch in probe.launches:
                launch()
    else:
        run.card = gpu_card()
        run.tell("machine", run.card)
    host = np.ones(1 << 10 if run.rehearse else min(TRANSFERRED, FULL.memory), np.uint8)
    there = cuda_device.to_device(host)
    ways = {
        "to the device": lambda: cuda_device.device().write(there.pointer, host),
        "to the host": lambda: cuda_device.device().read(there.pointer, host),
    }
    for name, copy in ways.items():
        copy()
        if not run.rehearse:
            run.tell("transfers", Transfer(name, host.nbytes, min(seconds_of(copy) for _ in range(5))))


def time_work(work, run, clock):
    """All contenders of a work, in turn. What one raises is its failure, and the others go on."""
    problem = Call(work)
    turns, notes, first_calls = [], {}, {}
    for k in rungs(work.operation):
        if work.dtype.name not in k.dtypes or not run.may(work, k):
            continue
        run.tell("at", f"{work.unit} / {k.id}")
        try:
            launches, first_calls[k.id] = problem.launches_of(k)
            if run.rehearse:
                for launch in launches:
                    launch()
                run.tell("not_run", not_run(work, k.id, REHEARSED))
                continue
            turn, notes[k.id] = clock.turn(k.id, launches)
            run.seconds[work.study, k.id] = max(work.amounts()), turn.read().elapsed
            turns.append(turn)
        except Exception as error:
            run.failed(f"{work.unit}, {k.id}", error)
    for name, contender in (("torch", torch_contender), (COPY, copy_contender)):
        missing = TORCH.why_unavailable() if name == "torch" else None
        if missing:
            run.tell("not_run", not_run(work, name, missing))
        if missing or f"{work.study} / {name}" in run.without:
            continue
        run.tell("at", f"{work.unit} / {name}")
        try:
            for impl, launches, note in contender(work, problem, run.rehearse):
                for launch in launches:
                    launch()
                if not run.rehearse:
                    turn, late = clock.turn(impl, launches)
                    turns.append(turn)
                    notes[impl] = note or late
        except Exception as error:
            run.failed(f"{work.unit}, {name}", error)
    if run.rehearse or not turns:
        return
    run.tell("at", f"{work.unit} / rounds")
    smi = start_smi()
    run_rounds(turns, seconds=ROUNDS, least=3)
    clocks = read_smi(smi, work.unit)
    records = [
        record_of(work, turn, run.card, notes[turn.name], first_calls.get(turn.name, 0.0), problem) for turn in turns
    ]
    records += of_a_call(work, problem, [turn.name for turn in turns])
    for one in records:
        run.tell("records", one)
    if clocks:
        run.tell("clocks", clocks)


def of_a_call(work, problem, timed):
    """A call from host arrays to host arrays, by the last rung of each backend: all rungs have the same transfers."""
    last = {k.backend: k for k in rungs(work.operation) if k.id in timed}
    for k in last.values():
        flops, nbytes = work.amounts()
        few = 1 if nbytes > 1 << 30 else 3
        samples = [seconds_of(lambda k=k: k.kernel(*problem.args)) for _ in range(few)]
        facts = {"flops": flops, "bytes": nbytes, "first_call": samples[0], "stats": stats(samples)}
        yield record(work, k.id, study=f"{work.study}, with transfers", **facts)


class Call:
    """A work's arguments on the host, and how its results are judged."""

    def __init__(self, work):
        contract, rng = work.operation.contract, np.random.default_rng(0)
        m = work.workload.shape.get("m", 0)
        few = Workload("few", {**work.workload.shape, "m": 1 << 14})  # drawing 2^28 numbers takes seconds: repeat some
        repeated = work.operation.name.startswith("gelu") and m > 1 << 14
        arguments = contract.sample(few if repeated else work.workload, work.dtype, rng)
        self.inputs, self.options = arguments.inputs, arguments.options
        if repeated:
            self.inputs = tuple(np.tile(x, (m >> 14, 1)) for x in self.inputs)
        calls = []
        returned = contract.run(lambda *args: calls.append(args), *self.inputs, **self.options)
        (self.args,) = calls
        self.results = contract.results(returned)
        self.contract, self.of_rows = contract, ROWS_OF.get(work.operation.name)
        count = len(self.results[0])
        self.rows = np.unique([0, count - 1, *rng.integers(0, count, ROWS)]) if self.of_rows else np.arange(count)

    @property
    def written(self):
        return sum(x.nbytes for x in self.results)

    @functools.cached_property
    def expected(self):
        some = tuple(x[self.rows] if i in (self.of_rows or ()) else x for i, x in enumerate(self.inputs))
        return exact_and_bound(self.contract, some, self.options)

    def problems(self, results):
        found = [x[self.rows] for x in results] if self.of_rows else results
        return compare_all(found, *self.expected, self.results[0].dtype)

    def launches_of(self, k):
        """The launches of a rung's kernels on arrays on the device, and the seconds of its first call. Raises
        AssertionError for a wrong result."""
        for x in self.results:
            x.fill(poison_of(x.dtype))
        with recorded() as launches:
            seconds = seconds_of(lambda: k.kernel(*self.args))
        for problem in self.problems(self.results):
            raise AssertionError(f"wrong result: {problem}")
        return launches, seconds


def stats(samples):
    return {
        "min": min(samples),
        "median": statistics.median(samples),
        "max": max(samples),
        "mean": statistics.fmean(samples),
        "stddev": statistics.pstdev(samples),
        "rounds": len(samples),
        "iterations": 1,
        "data": kept(samples),
    }


def record(work, impl, **facts):
    study = facts.pop("study", work.study)
    name = f"{study}, {impl}, {work.workload.name}"
    own = {"operation": work.operation.name, "impl": impl, "workload": work.workload.name, "dtype": work.dtype.name}
    return Record(name=name, suite="gpu", study=study, shape=work.workload.shape, threads=1, **own, **facts)


def record_of(work, turn, card, note, first_call, problem):
    flops, nbytes = work.amounts()
    flops = 0 if turn.name == COPY else flops
    found = [k for k in rungs(work.operation) if k.id == turn.name]
    limit = gpu_limit(card, flops, nbytes, problem.written, work.dtype.name) if card else None
    if limit and limit.seconds > turn.best and work.dtype.name in REDUCED:
        limit = None  # it is mma.sync's, which cuBLAS's wgmma beats
    facts = {"faster_than": found[0].faster_than} if found else {}
    facts |= {"first_call": first_call, "stats": stats(turn.samples), "note": note, "limit": limit, "ladder": True}
    return record(work, turn.name, flops=flops, bytes=nbytes, **facts)


def main():
    parser = argparse.ArgumentParser(description="A part of `loopnest bench gpu`, as lines of JSON.")
    parser.add_argument("part", choices=("contract", "timing", "sanitized"))
    parser.add_argument("--operation", help="of the part sanitized")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--card", type=Path, help="the GPU's machine card, where it was measured before")
    parser.add_argument("--start", metavar="STUDY / WORKLOAD", help="leave out what comes before it")
    parser.add_argument(
        "--without", action="append", default=[], metavar="STUDY / CONTENDER", help="or STUDY / WORKLOAD"
    )
    parser.add_argument("--events", type=int, default=1, metavar="FD", help="the descriptor to write to")
    asked = parser.parse_args()
    if asked.part == "sanitized":
        sanitized(asked.operation, asked.rehearse)
        return
    with os.fdopen(asked.events, "w", encoding="utf-8") as stream:

        def tell(event, content):
            stream.write(json.dumps([event, msgspec.to_builtins(content)]) + "\n")
            stream.flush()

        run = Run(asked, tell)
        contract(run) if asked.part == "contract" else timing(run, asked.start)


if __name__ == "__main__":
    main()
