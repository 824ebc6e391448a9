"""The GPU's limits: the kernels compute what they are timed for, in simulation; the clock and the card, on a fake
driver."""

import re

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from fake_gpu import EVENT, FILL, LAUNCH, fake_gpu  # noqa: F401 (a fixture)
from loopnest import OPERATIONS
from loopnest.backends.cuda_cpp import compile_file
from loopnest.backends.cuda_device import to_host
from loopnest.backends.launches import recorded
from loopnest.bench.records import Record
from loopnest.cli import main
from loopnest.machine.gpu import CHAINS, FILE, PRODUCTS, Sizes, gpu_card, gpu_limit, probes
from loopnest.machine.records import MachineCard
from loopnest.machine.roofline import roofline_svg
from loopnest.machine.tables import sheets
from loopnest.report.figures import Indexed, figures
from loopnest.timing.gpu_clock import LATE, GpuClock
from test_nvrtc import needs_nvrtc

SMALL = Sizes(blocks=2, steps=19, memory=1 << 16, cached=1 << 13, passes=3)


def host(array):
    found = np.empty(array.shape, array.dtype)
    to_host(array, found)
    return found


@pytest.mark.usefixtures("simulated")
def test_each_limit_does_the_work_that_it_is_timed_for():
    for probe in probes(1, SMALL):
        for launch in probe.launches:
            launch()
        found = host(probe.out)
        if probe.what[0] == "peak" and "16" in probe.what[1]:
            steps = SMALL.steps // 8 + 1
            assert (found == PRODUCTS * 4 * 16 * steps + sum(range(PRODUCTS))).all()
            assert probe.amount == len(found) // 32 * steps * PRODUCTS * 2 * 16 * 16 * 8
        elif probe.what[0] == "peak":
            sums = np.arange(CHAINS, dtype=found.dtype)
            for _ in range(SMALL.steps):
                sums = sums * found.dtype.type(0.5) + found.dtype.type(1)
            np.testing.assert_allclose(found, sums.sum(), rtol=1e-6)
            assert probe.amount == 2 * CHAINS * SMALL.steps * len(found)
        elif probe.what[1:] == ("memory", "copy"):
            assert (found == 1).all()
            assert probe.amount == 2 * found.nbytes
        elif probe.what[0] == "launch":
            assert found[0] == 1
        else:  # reads: each thread's sum of the ones that it read
            assert found.sum() * 4 == probe.amount


@needs_nvrtc
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_they_compile_without_spills_and_keep_their_loops(arch):
    compiled = compile_file(FILE, arch=arch, kind="cubin", options=["--ptxas-options=-v"])
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", compiled.log)
    assert len(spills) == len(compiled.lowered) == 12
    assert set(spills) == {("0", "0")}


@pytest.mark.usefixtures("simulated")
def test_a_recorded_call_runs_its_kernels_again_on_the_arrays_of_the_device():
    a, b = np.random.default_rng(0).standard_normal((2, 20, 20))
    with recorded() as launches:
        OPERATIONS["matmul"](a, b, impl="cuda_cpp.tiled")
    (launch,) = launches
    result = launch.memory[-1]
    np.frombuffer(result.memory, np.uint8)[:] = 0
    launch()
    np.testing.assert_allclose(host(result), a @ b)


def test_a_sample_is_the_time_between_the_events_after_a_fill(fake_gpu):  # noqa: F811
    driver = fake_gpu(FILE)
    clock, (*_, nothing) = GpuClock(), probes(1, SMALL)
    driver.calls.clear()
    seconds, late = clock.sample([*nothing.launches] * 3, flushes=2)
    assert driver.calls == ["fill", "fill", "event", *["limit_launch<float>"] * 3, "event", "synchronize"]
    assert seconds == pytest.approx(3 * LAUNCH + EVENT)
    assert not late
    driver.cuEventElapsedTime = lambda start, stop: driver.ok(0.0)
    with pytest.raises(RuntimeError, match="not between the events"):
        clock.sample(nothing.launches)


def test_the_fill_grows_until_the_host_is_ahead(fake_gpu):  # noqa: F811
    driver = fake_gpu(FILE)
    clock, (*_, nothing) = GpuClock(), probes(1, SMALL)
    for behind, fills, note in ((0, 1, ""), (3, 4, ""), (1000, 16, LATE)):
        driver.late = behind
        turn, found = clock.turn("nothing", nothing.launches)
        driver.calls.clear()
        turn.take()
        assert driver.calls.count("fill") == fills
        assert turn.best == pytest.approx(LAUNCH + EVENT)
        assert found == note


def test_the_card_of_a_gpu_is_a_machine_card(fake_gpu):  # noqa: F811
    driver = fake_gpu(FILE)
    card = gpu_card(seconds=0, sizes=SMALL)
    assert card == msgspec.convert(msgspec.to_builtins(card), MachineCard)
    assert card.lacking() == []
    assert (card.cpu, card.isa_levels) == ("NVIDIA H200", ("sm_90",))
    assert card.system == "1 multiprocessors, 139 GiB, a driver for CUDA 13.0"
    threads = 2 * 256
    assert card.peak("float32") == pytest.approx(2 * CHAINS * SMALL.steps * threads / (LAUNCH + EVENT))
    assert card.bandwidth("memory", "copy") == pytest.approx(2 * SMALL.memory / (LAUNCH + EVENT))
    (sheet,) = sheets(card)
    assert {row[0] for row in sheet.rows} >= {"peak of float32", "copy bandwidth of memory", "a launch"}
    assert "shared memory" in roofline_svg(card, [("mine", 1e9, 1e6, 1e-3)])
    assert FILL > LAUNCH  # so a fill inside of the events would show
    assert driver.memory == {}, "memory that was not freed"


def test_a_limit_of_a_gpu_counts_results_that_its_cache_holds_as_free():
    here = msgspec.convert(CARD, MachineCard)
    small, large = gpu_limit(here, 10, 3e6, 1e6, "float32"), gpu_limit(here, 10, 3e9, 1e9, "float32")
    assert small.seconds == pytest.approx(2e6 / 4e12)
    assert large.seconds == pytest.approx((3e9 - (60 << 20)) / 4e12)
    assert (large.by, large.level) == ("bytes", "memory")
    assert gpu_limit(here, 1e12, 3e6, 1e6, "float32").seconds == 1e12 / 60e12
    assert gpu_limit(here, 1e12, 3e6, 1e6, "bfloat16").seconds == 1e12 / 640e12, "measured, and not float32's twice"
    assert gpu_limit(here, 1e12, 3e6, 1e6, "float64") is None


CARD = {
    "cpu": "NVIDIA H200",
    "cores": 1,
    "system": "132 multiprocessors",
    "isa_levels": ["sm_90"],
    "caches": [{"level": 2, "size": 60 << 20, "ways": 0, "line": 128, "shared": True}],
    "peaks": [
        {"isa": "sm_90", "dtype": dtype, "threads": 1, "flops": flops}
        for dtype, flops in (("float32", 60e12), ("bfloat16", 640e12))
    ],
    "bandwidths": [{"level": "memory", "kind": "copy", "threads": 1, "bytes": 4e12}],
}


def test_machine_gpu_without_one_says_why(monkeypatch):
    monkeypatch.setattr("loopnest.backends.cuda_device.why_no_device", lambda: "no driver")
    result = CliRunner().invoke(main, ["machine", "--gpu"])
    assert (result.exit_code, result.output) == (1, "Error: no GPU was found: no driver\n")


def test_machine_gpu_prints_the_card_and_draws_its_roofline(monkeypatch, tmp_path):
    monkeypatch.setattr("loopnest.backends.cuda_device.why_no_device", lambda: None)
    monkeypatch.setattr("loopnest.machine.gpu.gpu_card", lambda: msgspec.convert(CARD, MachineCard))
    result = CliRunner().invoke(main, ["machine", "--gpu", "--svg", str(tmp_path / "roofline.svg")])
    assert result.exit_code == 0, result.output
    assert re.search(r"peak of float32 +60.0 TFLOP/s", result.output)
    assert "kept in" not in result.output
    assert "60,000 GFLOP/s: float32" in (tmp_path / "roofline.svg").read_text(encoding="utf-8")


def test_a_pages_roofline_has_the_rungs_of_one_dtype():
    card = msgspec.convert(CARD, MachineCard)
    facts = {"study": "matmul", "operation": "matmul", "workload": "w", "shape": {"n": 8}, "flops": 1000, "bytes": 10}
    facts |= {"suite": "gpu", "threads": 1, "first_call": 0.0}
    records = [
        Record(name=impl, impl=impl, dtype=dtype, stats={"min": seconds, "median": seconds}, **facts)
        for impl, dtype, seconds in (("cuda.one", "float32", 1e-9), ("cuda_cpp.two", "bfloat16", 3e-9))
    ]
    (drawn,) = [f for f in figures(Indexed(records), card) if f.part == "roofline"]
    assert "cuda.one" in drawn.svg
    assert "cuda_cpp.two" not in drawn.svg
