"""`loopnest bench gpu`: the code that will run on a GPU, on a fake driver; and what is kept when a rung crashes, hangs,
or somebody ends the run."""

import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_gpu import EVENT, LAUNCH, fake_gpu  # noqa: F401 (a fixture)
from loopnest.backends.cpp import csrc
from loopnest.bench import gpu
from loopnest.bench.records import Check, Failure, Results
from loopnest.bench.suites import suites_folder
from loopnest.cli import main
from loopnest.machine.gpu import FILE
from loopnest.report import page

CUDA = [csrc() / place for place in ("matmul/cuda/naive.cu", "matmul/cuda/tiled.cu", "gelu/cuda/elementwise.cu")]
TIMED = ("matmul cuda_cpp.naive", "matmul cuda_cpp.tiled", "gelu cuda_cpp.elementwise")


@pytest.fixture
def bench_gpu(monkeypatch):
    """The module that the processes run, of small sizes and few rungs."""
    monkeypatch.syspath_prepend(str(suites_folder()))
    module = importlib.import_module("bench_gpu")
    rungs = module.rungs
    small = module.workloads(True)
    monkeypatch.setattr(module, "rungs", lambda op: [k for k in rungs(op) if f"{op.name} {k.id}" in TIMED])
    monkeypatch.setattr(module, "workloads", lambda rehearse: {name: small[name] for name in ("matmul", "gelu")})
    monkeypatch.setattr(module, "ROUNDS", 0)
    return module


def ran(module, *command):
    """The events of a process's part, run here."""
    events = []
    asked = {"rehearse": False, "without": [], "card": None, **dict(command)}
    module.timing(module.Run(types.SimpleNamespace(**asked), lambda *event: events.append(event)), asked.get("start"))
    return events


def contents(events, kind):
    return [content for event, content in events if event == kind]


@pytest.fixture
def on_a_gpu(fake_gpu, bench_gpu, monkeypatch, tmp_path):  # noqa: F811
    """A fake driver, an nvidia-smi, limits of little work, and torch's CPU in place of its GPU."""
    pytest.importorskip("torch")  # before the driver is replaced: torch.cuda imports it
    from loopnest.machine.gpu import Sizes, gpu_card

    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '1980, 3201, 41, 512.33'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    sizes = Sizes(blocks=1, steps=3, memory=1 << 14, cached=1 << 13, passes=1)
    monkeypatch.setattr(bench_gpu, "gpu_card", lambda: gpu_card(0, sizes))
    monkeypatch.setattr(bench_gpu, "TRANSFERRED", 1 << 12)
    torch_of = bench_gpu.torch_contender
    monkeypatch.setattr(bench_gpu, "torch_contender", lambda work, call, _: torch_of(work, call, False, device="cpu"))
    return fake_gpu(FILE, *CUDA)


def test_all_contenders_are_timed_in_turn_by_events_and_the_page_has_them(on_a_gpu, bench_gpu):
    events = ran(bench_gpu)
    assert contents(events, "failures") == []
    records = contents(events, "records")
    timed = {(r.study, r.impl): r for r in records}
    assert list(timed) == [
        *(("matmul, float32", impl) for impl in ("cuda_cpp.naive", "cuda_cpp.tiled", "torch.cuBLAS")),
        ("matmul, float32, with transfers", "cuda_cpp.tiled"),
        *(("gelu, float32", impl) for impl in ("cuda_cpp.elementwise", "torch.CUDA", "driver.copy")),
        ("gelu, float32, with transfers", "cuda_cpp.elementwise"),
    ]
    naive = timed["matmul, float32", "cuda_cpp.naive"]
    assert naive.best == naive.median == pytest.approx(LAUNCH + EVENT)
    assert naive.stats["rounds"] == 6
    assert naive.limit.seconds > 0
    assert timed["matmul, float32", "cuda_cpp.tiled"].faster_than == ("cuda_cpp.coalesced",)
    assert [clocks.multiprocessors for clocks in contents(events, "clocks")] == [1980, 1980]
    assert [transfer.what for transfer in contents(events, "transfers")] == ["to the device", "to the host"]
    assert {r.impl for r in records if r.note} <= {"torch.CUDA"}, "torch's GELU is not exact in the tails"
    assert on_a_gpu.calls.count("fill") > 12, "the cache is flushed before each sample"
    (card,) = contents(events, "machine")
    run = Results(None, tuple(records), machine=card, clocks=tuple(contents(events, "clocks")))
    html = page(run)
    for text in ("The GPU's limits, measured".replace("'", "&#x27;"), "Clocks while it was timed", "driver.copy"):
        assert text in html


def test_an_error_of_one_contender_loses_no_other(on_a_gpu, bench_gpu, monkeypatch):
    launch = on_a_gpu.cuLaunchKernel

    def fails(function, *rest):
        return (on_a_gpu.refused,) if "naive" in function else launch(function, *rest)

    from test_nvrtc import Status

    on_a_gpu.refused = Status(1)
    on_a_gpu.cuLaunchKernel = fails
    events = ran(bench_gpu)
    (failure,) = contents(events, "failures")
    assert failure.name == "matmul, float32 / square-16, cuda_cpp.naive"
    assert "cuLaunchKernel failed" in failure.message
    impls = [r.impl for r in contents(events, "records")]
    assert "cuda_cpp.naive" not in impls
    assert {"cuda_cpp.tiled", "torch.cuBLAS", "cuda_cpp.elementwise"} <= set(impls)
    # An error that breaks the context ends the process, after it is reported; the next process is without the rung.
    on_a_gpu.cuCtxSynchronize = lambda: (Status(700),)
    with pytest.raises(SystemExit) as ended:
        ran(bench_gpu, ("start", "matmul, float32 / square-16"))
    assert ended.value.code == gpu.DEAD
    del on_a_gpu.cuCtxSynchronize
    on_a_gpu.cuLaunchKernel = launch
    how = ("start", "gelu, float32 / elements-64"), ("without", ["gelu, float32 / cuda_cpp.elementwise"])
    events = ran(bench_gpu, *how)
    assert [r.impl for r in contents(events, "records")] == ["torch.CUDA", "driver.copy"]
    assert [row.impl for row in contents(events, "not_run")] == ["cuda_cpp.elementwise"]


def test_without_torch_the_rungs_are_timed_all_the_same(on_a_gpu, bench_gpu, monkeypatch):
    absent = dataclasses.replace(bench_gpu.TORCH, why_unavailable=lambda: "torch is not installed")
    monkeypatch.setattr(bench_gpu, "TORCH", absent)
    events = ran(bench_gpu)
    assert contents(events, "failures") == []
    assert [(row.impl, row.reason) for row in contents(events, "not_run")] == [("torch", "torch is not installed")] * 2
    assert "cuda_cpp.tiled" in {r.impl for r in contents(events, "records")}


def test_a_wrong_result_is_a_failure_and_has_no_time(on_a_gpu, bench_gpu, monkeypatch):
    tiled = bench_gpu.ln.matmul["cuda_cpp.tiled"]
    monkeypatch.setattr(tiled, "kernel", lambda a, b, c: c.fill(0))
    events = ran(bench_gpu)
    (failure,) = contents(events, "failures")
    assert failure.message.startswith("AssertionError: wrong result: ")
    assert "cuda_cpp.tiled" not in {r.impl for r in contents(events, "records")}


def test_torch_computes_what_the_contracts_say(bench_gpu, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.undo()
    for work in bench_gpu.works(True):
        ((_, launches, note),) = bench_gpu.torch_contender(work, bench_gpu.Call(work), True)
        wrong = int(re.search(r"(\d+) of \d+ elements are wrong$", note)[1]) if note else 0
        assert wrong <= (20 if work.study.startswith("gelu") else 0), "its GELU is not exact in the tails"
        assert len(launches) == 1


# --- the process that runs it

STAND_IN = """
import json, os, signal, sys, time
args = sys.argv[1:]
if args[0] == "sanitized":
    print("at: cuda.one, float32", "calls: 1", sep="\\n")
    sys.exit()
events = os.fdopen(int(args[args.index("--events") + 1]), "w")
def tell(*event):
    print(json.dumps(event), file=events, flush=True)
for name in ("one", "crashes", "hangs", "two"):
    if f"study / cuda.{name}" not in args and args[0] == "timing":
        tell("at", f"study / n / cuda.{name}")
        if name == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == "hangs":
            time.sleep(60)
if args[0] == "contract":
    tell("checks", {"kind": "contract", "subject": "matmul cuda.one", "calls": 3})
    if os.environ.get("END") == "1":
        time.sleep(0.5)  # the event is read
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
else:
    tell("checks", {"kind": "timing", "subject": " ".join(args[1:-2]), "calls": 1})
"""


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """In place of the file that does the work."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "bench_gpu.py").write_text(STAND_IN)
    monkeypatch.setattr(gpu, "suites_folder", lambda: folder)
    monkeypatch.setattr(gpu, "why_not_here", lambda: None)
    return folder


def test_a_rung_that_crashes_or_hangs_is_left_out_and_the_rest_is_kept(stand_in, monkeypatch):
    monkeypatch.setattr(gpu, "PATIENCE", 2)
    saved = []
    results = gpu.run_gpu(["contract", "timing"], save=saved.append)
    messages = [failure.message.splitlines()[0] for failure in results.failures]
    assert messages == [
        "the benchmark process was ended by SIGSEGV",
        "the benchmark process was ended: it reported nothing for 2 s",
    ]
    assert [f.name for f in results.failures] == ["study / n / cuda.crashes", "study / n / cuda.hangs"]
    last = "--without study / cuda.crashes --without study / cuda.hangs --start study / n"
    assert results.checks == (Check("contract", "matmul cuda.one", 3), Check("timing", last, 1))
    assert saved[-1] == results
    assert len(saved) == 5


def test_a_run_that_is_terminated_keeps_its_checks(stand_in, monkeypatch, tmp_path):
    before, file = signal.getsignal(signal.SIGTERM), tmp_path / "run.json"
    monkeypatch.setenv("END", "1")
    try:
        result = CliRunner().invoke(main, ["bench", "gpu", "--json", str(file), "--output", str(tmp_path / "run.html")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 130, result.output
    assert "interrupted: the tables hold what was found until then" in result.output
    kept = Results.load(file)
    assert kept.interrupted
    assert kept.checks == (Check("contract", "matmul cuda.one", 3),)
    assert "The run was interrupted" in (tmp_path / "run.html").read_text()


def test_without_a_gpu_it_says_so_and_what_to_do():
    if gpu.why_not_here() is None:
        pytest.skip("there is a GPU here")
    result = CliRunner().invoke(main, ["bench", "gpu"])
    assert result.exit_code == 1
    assert result.output.endswith("`loopnest bench gpu --rehearse` needs none\n")


# --- compute-sanitizer


def clean(tool):
    summary = "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
    return f"========= COMPUTE-SANITIZER\n========= {summary if tool == 'racecheck' else 'ERROR SUMMARY: 0 errors'}\n"


ERROR = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at matmul_naive<float>(Matrix<const T1>)+0x1f0
========= ERROR SUMMARY: 1 error
"""
HAZARD = """========= COMPUTE-SANITIZER
========= Warning: Race reported between Write access at matmul_tiled and Read access
========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)
"""
REFUSED = "========= COMPUTE-SANITIZER\n========= Error: Device not supported\n"


@pytest.mark.parametrize("tool", gpu.SANITIZERS)
def test_what_compute_sanitizer_wrote_becomes_a_check_or_a_failure(tool):
    done = "at: cuda.naive, float32\ncalls: 1\n"
    assert gpu.verdict(tool, "gelu", done, clean(tool), "0", True) == Check(tool, "gelu", 1)
    found = gpu.verdict(tool, "gelu", done, ERROR, "0", True)
    assert found.problems[1] == "Invalid __global__ write of size 4 bytes"
    assert any("Race reported" in p for p in gpu.verdict(tool, "gelu", done, HAZARD, "0", True).problems)
    wrong = gpu.verdict(tool, "gelu", "wrong: cuda.naive: 3 is 4\ncalls: 1\n", clean(tool), "0", True)
    assert wrong.problems == ("cuda.naive: 3 is 4",)
    refused = gpu.verdict(tool, "gelu", "at: cuda.naive, float32\nerror 999", REFUSED, "1", True)
    assert isinstance(refused, Failure)
    assert refused.message.startswith("it ended with status 1 at cuda.naive, float32")
    assert "Device not supported" in refused.message
    none = gpu.verdict(tool, "gelu", "left out: cuda.naive: it is broken\ncalls: 0\n", clean(tool), "0", True)
    assert none.message.startswith("no rung can run\nleft out: cuda.naive: it is broken")
    hung = gpu.verdict(tool, "gelu", "at: cuda.naive, float32\n", "", "hung", True)
    assert hung.message.startswith("it took longer than 75 s at cuda.naive")


def test_each_operations_rungs_run_below_it(stand_in, monkeypatch, tmp_path):
    program = tmp_path / "compute-sanitizer"
    log = json.dumps(clean("memcheck"))
    program.write_text(
        f"#!{sys.executable}\nimport os, pathlib, sys\n"
        "assert sys.argv[1:4] == ['--tool', 'memcheck', '--log-file']\n"
        f"pathlib.Path(sys.argv[4]).write_text({log})\nos.execv(sys.argv[5], sys.argv[5:])\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    results = gpu.run_gpu(["memcheck"])
    assert results.failures == ()
    names = [name for name, op in gpu.OPERATIONS.items() if any(k.backend in gpu.ON_A_GPU for k in op)]
    assert results.checks == tuple(Check("memcheck", name, 1) for name in names)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    if not Path("/usr/local/cuda").exists():
        (failure,) = gpu.run_gpu(["memcheck"]).failures
        assert failure.message.startswith("compute-sanitizer was not found on PATH")


# --- the whole of it, rehearsed

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.slow
def test_the_rehearsal_runs_every_rung_of_every_dtype_and_times_nothing():
    results = gpu.run_gpu(["timing"], rehearse=True)
    assert results.failures == ()
    assert results.records == ()
    rungs = [(f"{name}, {d}", k.id) for name, op in gpu.OPERATIONS.items() for k in op.rungs() for d in k.dtypes]
    wanted = {one for one in rungs if one[1].startswith("cuda") and one[0].endswith((" float32", " bfloat16"))}
    assert {(row.study, row.impl) for row in results.not_run if row.reason == gpu.REHEARSED} == wanted
    assert "nothing was timed" in page(results)


@pytest.fixture
def fake_python(monkeypatch, tmp_path):
    """A python3 whose tests fail; what it was called with is in a file."""
    calls = tmp_path / "calls"
    program = tmp_path / "python3"
    program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\ncase "$*" in "-m pytest"*) exit 1;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    return calls


@pytest.mark.skipif(not SCRIPTS.exists(), reason="needs the source tree")
def test_the_script_goes_on_after_a_step_that_fails_and_says_so(fake_python):
    done = subprocess.run([SCRIPTS / "gpu.sh", "--rehearse"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: tests on the device (status 1)"
    assert re.search(r"^== tests on the device: \d+ s, status 1$", done.stdout, re.MULTILINE)
    assert "-m loopnest bench gpu --rehearse --only=memcheck --only=racecheck --only=timing" in fake_python.read_text()
    assert subprocess.run([SCRIPTS / "gpu.sh", "--fast"], capture_output=True, check=False).returncode == 2


@pytest.mark.skipif(not SCRIPTS.exists(), reason="needs the source tree")
def test_the_ladders_picture_has_the_gpus_once_its_json_exists(on_a_gpu, bench_gpu, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    make_ladder = importlib.import_module("make_ladder")
    peaks = [types.SimpleNamespace(threads=1)]
    here = types.SimpleNamespace(peaks=peaks, peak=lambda dtype, threads: 1e11)
    monkeypatch.setattr(make_ladder, "card", lambda: here)
    monkeypatch.setattr(make_ladder, "OF_A_GPU", tmp_path / "gpu.json")
    before = make_ladder.draw({"cpp.naive": 1.0})
    assert "not timed, they need a GPU: cuda.naive" in before
    records = contents(ran(bench_gpu), "records")
    Results(None, tuple(dataclasses.replace(r, limit=None) for r in records)).save(tmp_path / "gpu.json")
    after = make_ladder.draw({"cpp.naive": 1.0})
    assert "matmul, square-16, float32, GFLOP/s" in after
    assert after.count("torch.cuBLAS") == 1
    assert after.count("cuda_cpp.naive") == before.count("cuda_cpp.naive") == 1
