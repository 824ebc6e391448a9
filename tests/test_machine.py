"""The machine card: its figures, how it is kept, and how it is measured."""

import dataclasses
import importlib.util
import io
import itertools
import json
import os
import sys

import loopnest as ln
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest import _core
from loopnest.cli import main
from loopnest.machine import card as machine
from loopnest.machine import limits, probes, tables
from loopnest.machine.records import Cache, MachineCard, Peak
from loopnest.machine.tables import report
from loopnest.timing.environment import SLOWING, Environment, ThreadPool
from made_up import CACHES, CARD
from rich.console import Console

timed = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitized build is slow in its own way")

GB = 1e9


# --- figures and limits


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (CARD.peak("float32"), 100),  # the highest of all ISA levels
        (CARD.peak(np.float64, threads=4), 200),
        (CARD.peak("float32", isa="v1"), 25),
        (CARD.bandwidth("L2"), 100),
        (CARD.bandwidth("L2", "triad", 4), 360),
        (CARD.bandwidth("L2", None), 110),  # the highest of all kinds
        (CARD.peak("float32", 3), 300),  # not measured: three times one thread's
        (CARD.bandwidth("memory", "read", 3), 40),  # not measured: what all threads have
        (CARD.bandwidth("memory", "read", 64), 40),
    ],
)
def test_figures_of_a_card(figure, expected):
    assert figure == pytest.approx(expected * GB)


def test_a_figure_that_a_card_lacks_is_named():
    with pytest.raises(ValueError, match="no peak of dtype 'int32'"):
        CARD.peak("int32")
    with pytest.raises(ValueError, match="no bandwidth of level 'L4'"):
        CARD.bandwidth("L4")
    with pytest.raises(ValueError, match="'L4'; it has FMA, L1"):
        CARD.latency("L4")


def test_what_the_caches_hold_need_not_come_from_behind_them():
    """Repeated calls: 2 MiB come at L1's rate but for what is beyond L1, which is at most at L2's rate, and so on."""
    mib, l1, l2 = float(1 << 20), 32 << 10, 1 << 20
    assert CARD.least_seconds(0, l1) == pytest.approx(l1 / (220 * GB))
    assert CARD.least_seconds(0, mib) == pytest.approx((mib - l1) / (110 * GB))
    beyond_l2 = 2 * mib - l1 - l2
    assert CARD.least_seconds(0, 2 * mib) == pytest.approx(max((2 * mib - l1) / (110 * GB), beyond_l2 / (55 * GB)))
    assert CARD.least_seconds(1e12, mib) == pytest.approx(1e12 / (100 * GB))  # the peak decides
    huge = 1e12  # all but 33 MiB are in memory
    assert CARD.least_seconds(0, huge) == pytest.approx(huge / (22 * GB), rel=1e-3)


def test_threads_have_as_many_private_caches_and_share_the_others():
    bytes = 4.0 * (1 << 20)  # L2s of four threads
    alone, four = (CARD.least_seconds(0, bytes, threads=threads) for threads in (1, 4))
    assert alone == pytest.approx((bytes - (32 << 10) - (1 << 20)) / (55 * GB))
    assert four == pytest.approx((bytes - 4 * (32 << 10)) / (440 * GB))
    held = 4 * (32 << 10) + 4 * (1 << 20) + (32 << 20)  # one L3 for all
    assert CARD.least_seconds(0, 4 * held, threads=4) == pytest.approx(3 * held / (44 * GB))


def test_hyper_threads_share_their_cores_caches():
    """8 processors: 4 cores of 2 hyper-threads, and an L3 for every 2 cores."""
    caches = tuple(
        dataclasses.replace(cache, processors=processors) for cache, processors in zip(CACHES, (2, 2, 4), strict=True)
    )
    card = dataclasses.replace(CARD, cores=8, caches=caches)
    assert [[cache.users(threads) for cache in caches] for threads in (1, 8)] == [[1, 1, 1], [2, 2, 4]]
    for threads, cores, l3s in ((1, 1, 1), (3, 3, 2), (8, 4, 2)):  # at most, if the threads are far apart
        held = cores * ((32 << 10) + (1 << 20)) + l3s * (32 << 20)
        bytes = 1000.0 * held
        roof = card.bandwidth("memory", None, threads)
        assert card.least_seconds(0, bytes, threads=threads) == pytest.approx(999 * held / roof)


# --- how it is kept


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A cache directory of its own, and cards out of thin air: the list of those that were measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cards = []

    def measure(on_event):
        on_event("start", 1)
        cards.append(dataclasses.replace(CARD, clock=1e9 * (len(cards) + 1)))
        return cards[-1]

    monkeypatch.setattr(machine, "measure", measure)
    return cards


def noted(**how):
    """A card, and the notes that came with it."""
    notes = []
    card = machine.card(on_event=lambda kind, text: notes.append(text) if kind == "note" else None, **how)
    return card, notes


def test_a_machine_is_measured_once(measured):
    first, second = machine.card(), machine.card()
    assert len(measured) == 1
    assert first == second
    assert machine.card(refresh=True).clock == measured[1].clock
    assert machine.card().clock == measured[1].clock
    assert len(measured) == 2


@timed
def test_rough_limits_are_enough_for_one_who_cannot_wait(measured):
    """They have every level and dtype, take no file's place, and give way to a kept card."""
    rough = machine.card(quick=True)
    assert rough.measured == ""
    assert rough.peak("float32", rough.cores) > 1e8
    assert all(rough.bandwidth(level, None) > 1e7 for level in (*(c.name for c in rough.caches), "memory"))
    assert rough.peaks == machine.card(quick=True).peaks
    assert not measured
    assert not machine.card_file().exists()
    assert machine.card() == machine.card(quick=True)
    assert len(measured) == 1


def test_the_cache_directory_is_the_users(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(machine.cache_directory()) == "/somewhere/loopnest"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(sys, "platform", "linux")
    assert str(machine.cache_directory()) == "/home/ada/.cache/loopnest"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert str(machine.cache_directory()) == "/home/ada/Library/Caches/loopnest"


def test_another_machine_or_version_has_another_file(measured, monkeypatch):
    files = {machine.card_file()}
    here = machine.environment()
    for change in ({"cpu": "another"}, {"cores": 77}, {"system": "Plan 9"}):
        changed = dataclasses.replace(here, **change)
        monkeypatch.setattr(machine, "environment", lambda changed=changed: changed)
        files.add(machine.card_file())
    monkeypatch.setattr(machine, "environment", lambda: here)
    monkeypatch.setattr(machine, "__version__", "99")
    files.add(machine.card_file())
    assert len(files) == 5


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", json.dumps({**msgspec.to_builtins(CARD), "caches": [{"level": 1}]}), "\xff"]
)
def test_a_broken_or_old_file_is_measured_anew_with_a_note(content, measured):
    machine.card_file().parent.mkdir(parents=True)
    machine.card_file().write_text(content, encoding="latin-1")
    card, notes = noted()
    assert card.clock == measured[0].clock
    assert len(notes) == 1
    assert str(machine.card_file()) in notes[0]
    assert "measured anew" in notes[0]
    assert noted() == (card, [])  # the file is whole again
    assert len(measured) == 1


def test_a_directory_that_cannot_be_written_costs_the_keeping_and_not_the_card(measured, tmp_path):
    (tmp_path / "loopnest").write_text("a file where the directory should be")
    card, notes = noted()
    assert card.clock == measured[0].clock
    assert "could not be kept" in notes[0]


def test_a_kept_card_has_the_warnings_of_now(measured, monkeypatch):
    for name in SLOWING:
        monkeypatch.delenv(name, raising=False)
    assert machine.card().warnings[0] == "it rained"
    assert not any("OPENBLAS" in warning for warning in machine.card().warnings)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    kept = machine.card()
    assert kept.warnings[0] == "it rained"
    assert "OPENBLAS_CORETYPE=Prescott" in kept.warnings[1]
    assert len(measured) == 1


def test_threads_without_a_processor_of_their_own_are_warned_of():
    pools = (ThreadPool("NumPy", 2), ThreadPool("torch", 8))
    here = Environment("CPU", 2, "Linux", "v3", {}, pools)
    (more,) = machine._crowding(here, None)
    assert "torch has 8 threads for 2 processors" in more
    (quota,) = machine._crowding(dataclasses.replace(here, pools=pools[:1]), 1.5)
    assert "1.5 of its 2 processors" in quota
    assert not list(machine._crowding(dataclasses.replace(here, pools=pools[:1]), 2.0))


# --- the caches, as the system reports them


def sysfs(folder, *caches):
    for number, files in enumerate(caches):
        place = folder / f"index{number}"
        place.mkdir(parents=True)
        for name, content in files.items():
            (place / name).write_text(f"{content}\n")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="sysfs is Linux's")
def test_caches_are_read_from_sysfs(tmp_path):
    def cache(level, kind, size, ways, cpus, line=64):
        names = "level", "type", "size", "ways_of_associativity", "shared_cpu_list", "coherency_line_size"
        return dict(zip(names, (level, kind, size, ways, cpus, line), strict=True))

    folder = sysfs(
        tmp_path,
        cache(3, "Unified", "96M", 12, "0-7,64-71"),
        cache(1, "Instruction", "64K", 4, "0"),
        cache(1, "Data", "48K", 12, "0,64", line=128),
        cache(2, "Unified", "2048K", 16, "0,64"),
    )
    assert machine.caches(folder) == (
        Cache(1, 48 << 10, 12, 128, False, 2),
        Cache(2, 2 << 20, 16, 64, False, 2),
        Cache(3, 96 << 20, 12, 64, True, 16),
    )


def test_a_system_that_reports_no_caches_has_none(tmp_path):
    assert sys.platform == "darwin" or machine.caches(tmp_path / "nowhere") == ()


def test_the_kernels_know_the_same_caches():
    found = {cache.level: cache.size for cache in machine.caches()}
    assert all(found.get(level, size) == size for level, size in zip((1, 2, 3), _core.cache_sizes(), strict=True))


# --- probes


class FakeClock:
    """A probe's work takes what is on its list, on this clock."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def probe(self, name, *seconds):
        left = list(seconds)

        def run():
            took = left.pop(0) if len(left) > 1 else left[0]
            self.now += took
            return took

        return probes.Probe(name, 6.0, run)


def test_a_probes_figure_is_its_fastest_run_in_any_round():
    clock = FakeClock()
    probe = clock.probe("", 2.0, 3.0, 5.0, 2.5)
    probes.play([probe], rounds=2, seconds=4.0, clock=clock)
    assert probe.rounds[0] == 2.0  # of 2 and 3 s: then the turn is over
    assert probe.rate == 3.0
    assert probe.seconds == pytest.approx(1 / 3)


def test_rounds_go_forwards_and_backwards_and_on_for_what_has_not_settled():
    clock = FakeClock()
    steady, lucky = clock.probe("steady", 1.0), clock.probe("lucky", 1.0, 3.0, 2.0, 1.01)
    order = []
    probes.play([steady, lucky], 2, 0.5, lambda kind, name: order.append(name), clock)
    assert order == ["steady", "lucky", "lucky", "steady", "lucky", "lucky"]
    assert lucky.settled()  # with 1.01 in the last


def test_a_probe_repeats_its_loop_until_a_run_takes_long_enough():
    asked = []

    def run(times):
        asked.append(times)
        return times * 1e-7

    probe = probes.repeated("", 5.0, run)
    assert probe.run() == pytest.approx(probes.RUN, rel=0.01)
    assert probe.amount == 5.0 * asked[-1]


def test_a_disturbed_first_run_does_not_make_runs_short():
    """It takes 20 ms for what takes 100 ns."""
    left = [0.02, 0.02]
    probe = probes.repeated("", 1.0, lambda times: left.pop() if left else times * 1e-7)
    assert probe.run() == pytest.approx(probes.RUN, rel=0.01)


def test_places_form_one_cycle_through_every_line():
    for line in (64, 128):
        places = probes.random_cycle(np.zeros(100 * line // 8, np.int64), line)
        at, seen = 0, []
        for _ in range(100):
            seen.append(at)
            at = int(places[at // 8])
        assert at == 0
        assert sorted(seen) == list(range(0, 100 * line, line))
        assert seen != sorted(seen)
        assert [_core.chase(places, 0, steps) for steps in (0, 1, 7, 100, 207)] == [
            *(seen[steps] for steps in (0, 1, 7)),
            *(0, seen[7]),
        ]
        assert _core.chase(places, seen[5], 2) == seen[7]


def test_two_cycles_does_every_step():
    x, k = 0, 12345
    for _ in range(53):
        x = ((x ^ k) + k) % 2**64
    assert _core.two_cycles(k, 53) % 2**64 == x


@pytest.mark.parametrize("nbytes", [16 << 10, 96 << 10, 100_000])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_arrays_lie_apart_in_their_buffer(count, nbytes):
    buffer = probes.buffer(nbytes)
    arrays = probes.arrays_in(buffer, count, nbytes)
    starts = [x.ctypes.data for x in arrays]
    assert all(start % 64 == 0 for start in starts)
    assert all(x.ctypes.data + x.nbytes <= y for x, y in zip(arrays, starts[1:], strict=False))
    assert starts[-1] + arrays[-1].nbytes <= buffer.ctypes.data + buffer.nbytes
    assert len({start % 4096 for start in starts}) == count
    assert nbytes - 64 * count < sum(x.nbytes for x in arrays) <= nbytes


def test_each_level_is_measured_beyond_the_cache_before_it():
    for sizes in (
        [32 << 10, 1 << 20, 32 << 20],
        [48 << 10, 1280 << 10, 24 << 20],
        [128 << 10, 12 << 20],
        [32 << 10],
        [],
    ):
        for threads in (1, 4):
            places = [probes.working_set(sizes, n, threads) for n in range(len(sizes) + 1)]
            assert all(place > 1.4 * size for place, size in zip(places[1:], sizes, strict=True))
            assert all(place < size for place, size in zip(places[:-1], sizes, strict=True))
            assert places[-1] * threads >= 1 << 28


def test_memory_is_gone_through_part_by_part(monkeypatch):
    seen = []

    def loop(isa, calls):
        seen.append([(x.ctypes.data, x.nbytes) for call in calls for x in call[:-1]])
        return 1.0, []

    monkeypatch.setitem(_core.in_step, "copy", loop)
    monkeypatch.setattr(probes, "PART", 1 << 20)
    buffers = [probes.buffer(4 << 20), probes.buffer(4 << 20)]
    probe = probes.memory_traffic("", "v1", "copy", buffers, 4 << 20)
    for _ in range(5):
        probe.run()
    assert probe.amount == sum(nbytes for _, nbytes in seen[0]) == 2 << 20
    assert seen[4] == seen[0]
    for one, following in itertools.pairwise(seen[:4]):
        assert following == [(start + nbytes, nbytes) for start, nbytes in one]


def test_little_memory_is_used_sparingly(monkeypatch):
    monkeypatch.setattr(probes, "available_memory", lambda: 100 << 20)
    assert dict(machine._sets(CACHES, 1))["memory"] == 25 << 20


# --- threads in step


def operands(dtype=np.float32):
    return np.array([1, 0.001, 0], dtype)


def test_every_thread_runs_its_own_call_and_returns_its_result():
    loop = _core.in_step["multiply_add"]
    seconds, flops = loop(
        "v1" if "v1" in ln.isa_levels() else ln.isa_levels()[0], [(operands(), n) for n in (1, 2, 30)]
    )
    assert seconds > 0
    assert flops == [flops[0], 2 * flops[0], 30 * flops[0]]


def test_the_level_is_the_one_that_is_named_and_none_is_forced():
    before, loop = ln.isa(), _core.in_step["multiply_add"]
    for level in ln.isa_levels():
        ln.set_isa(level)
        expected = _core.limits["peak"]["multiply_add"](operands(), 10)
        ln.set_isa(ln.isa_levels()[0])
        assert loop(level, [(operands(), 10)])[1] == [expected]
        assert ln.isa() == ln.isa_levels()[0]
    ln.set_isa(before)
    with pytest.raises(ValueError, match="isa is 'v9', expected one of"):
        loop("v9", [(operands(), 1)])


def test_wrong_calls_in_step_are_refused():
    loop, level = _core.in_step["copy"], ln.isa_levels()[0]
    x = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="calls is empty"):
        loop(level, [])
    with pytest.raises(TypeError, match="float32 or float64"):
        loop(level, [(x.astype(int), x.astype(int), 1)])
    with pytest.raises(TypeError, match="different dtypes"):
        loop(level, [(x, x.astype(np.float64), 1)])
    x.flags.writeable = False
    with pytest.raises(TypeError, match="read-only"):
        loop(level, [(x, x, 1)])


def test_the_warm_up_comes_before_and_is_not_timed():
    level, x, y = ln.isa_levels()[0], np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32)
    loop = _core.in_step["triad"]
    short = [(x[:16], y[:16], y[16:32], 1)]
    seconds, results = min(loop(level, short, warm_up=[(x, y, y, 5)]) for _ in range(10))
    assert results == [None]
    assert (y[32:] != 0).all()  # y = x + 3 y, in the warm-up
    assert seconds < 1e-4  # 16 elements; the warm-up moves 60 MB


def test_time_runs_until_the_last_thread_has_ended():
    """200,000 rounds take half a millisecond and more, and one takes nothing."""
    level, loop = ln.isa_levels()[0], _core.in_step["multiply_add"]

    def best(*rounds):
        return min(loop(level, [(operands(), n) for n in rounds])[0] for _ in range(10))

    alone = best(200_000)
    assert best(1, 200_000) > 0.5 * alone
    assert best(200_000, 1) > 0.5 * alone


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are bound on Linux alone")
def test_a_thread_is_bound_to_a_processor_of_this_process():
    from concurrent.futures import ThreadPoolExecutor

    allowed = sorted(os.sched_getaffinity(0))
    for n in range(len(allowed) + 1):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_core.bind_as_thread, n).result()
            assert pool.submit(os.sched_getaffinity, 0).result() == {allowed[n % len(allowed)]}
    assert sorted(os.sched_getaffinity(0)) == allowed


# --- measuring


@pytest.fixture(scope="module")
def here():
    events = []
    card = machine.measure(seconds=1.0, on_event=lambda kind, content: events.append((kind, content)))
    return card, events


@timed
@pytest.mark.slow
def test_this_machine_has_every_figure(here):
    card, _ = here
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = sorted({1, cores})
    assert {(p.isa, p.dtype, p.threads) for p in card.peaks} == {
        (isa, dtype, n) for isa in ln.isa_levels() for dtype in ("float32", "float64") for n in counts
    } | {(isa, one.dtype, n) for isa in ln.isa_levels() for one in probes.instructions(isa) for n in counts}
    levels = [*(cache.name for cache in card.caches), "memory"]
    assert card.levels() == levels
    assert {(b.level, b.kind, b.threads) for b in card.bandwidths} == {
        (level, kind, n) for level in levels for kind in ("read", "copy", "triad") for n in counts
    }
    assert [*card.latencies] == ["FMA", *levels]
    assert all(p.flops > 1e8 for p in card.peaks)
    assert all(b.bytes > 1e7 for b in card.bandwidths)
    assert 2e8 < card.clock < 1e10
    assert {"NumPy", "loopnest"} <= {pool.owner for pool in machine.as_it_is_now(card).pools}
    assert msgspec.json.decode(msgspec.json.encode(card), type=MachineCard) == card


def test_the_peak_in_reduced_precision_is_the_fastest_instructions_or_what_conversion_allows():
    assert [CARD.peak(dtype) / CARD.peak("float32") for dtype in ("bfloat16", "float16", "int8")] == [1, 1, 2]
    slow, fast = (Peak("v3", "bfloat16", 1, x * CARD.peak("float32"), "vdpbf16ps") for x in (0.5, 1.9))
    assert dataclasses.replace(CARD, peaks=(*CARD.peaks, slow)).peak("bfloat16") == CARD.peak("float32")
    card = dataclasses.replace(CARD, peaks=(*CARD.peaks, slow, fast))
    assert card.peak("bfloat16") == fast.flops
    assert card.peak("bfloat16", isa="v1") == CARD.peak("float32", isa="v1")
    (_, _, sheet, _) = tables.sheets(dataclasses.replace(card, peaks=(*CARD.peaks, fast)))
    assert sheet.rows == [("vdpbf16ps", "bfloat16", "190", "1.9")]


def test_each_instruction_is_found_where_it_is_and_does_the_work_that_is_counted(monkeypatch):
    for one in probes.instructions("v4"):  # 24 chains of 16 sums, or 4 tiles of 16 x 16 x 16 units
        _, (flops,) = _core.in_step[one.loop]("v4", [(np.array([1, 1, 0], np.float32), 3)])
        elements = {"int8": 4, "float16": 2, "bfloat16": 2}[one.dtype]
        assert flops == 3 * 2 * elements * (4 * 16**3 if "tiles" in one.loop else 24 * 16)
    monkeypatch.setattr(_core, "further_instructions", lambda: ["avx512_vnni"])
    monkeypatch.setattr(_core, "why_no_amx", lambda: None)
    assert [one.name for one in probes.instructions("v4")] == ["vpdpbusd", "tdpbf16ps", "tdpbssd"]
    assert probes.instructions("v3") == []


def test_a_limit_in_reduced_precision_is_measured_by_its_instructions(monkeypatch):
    monkeypatch.setattr(limits, "multiply_adds", lambda dtype="float32", threads=1, loop_name="multiply_add": loop_name)
    monkeypatch.setattr(limits, "best_rate", lambda loops: {"multiply_add": 10.0, "dot_pairs": 19.0}[loops[0]])
    monkeypatch.setattr(limits, "instructions", lambda isa: [probes.INSTRUCTIONS[1]])  # dot_pairs
    assert [limits.peak_now(dtype, 1) for dtype in ("float32", "bfloat16", "float16", "int8")] == [10, 19, 10, 20]


@timed
def test_this_machines_figures_are_in_order(here):
    """With wide margins: others may use the processor."""
    card, _ = here
    assert card.peak("float32") == pytest.approx(2 * card.peak("float64"), rel=0.3)
    assert card.bandwidth("L1", None) > 1.2 * card.bandwidth("memory", None)
    assert card.latency("memory") > 3 * card.latency("L1")
    assert 1.5 < card.latency("L1") * card.clock < 20  # cycles
    assert 1.5 < card.latency("FMA") * card.clock < 20
    newest = card.isa_levels[-1]
    lanes = {"v1": 4, "v3": 8, "v4": 16, "neon": 4}.get(newest, 1)
    assert 0.5 * lanes < card.peak("float32", 1, newest) / card.clock < 9 * lanes  # at most 4 units, 2 flops


# --- the command


def run(*args, columns=80):
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(main, ["machine", *args], prog_name="loopnest")


@pytest.mark.parametrize("columns", [80, 140])
def test_the_command_shows_the_card_in_the_terminals_width(columns, measured):
    result = run(columns=columns)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines()[:-1])) <= columns  # the last has a path
    for figure in (
        "a processor, 4 processors",
        "1.00 GHz",
        "400",
        "110",
        "100 ns",
        "32 MiB*",
        "warning: it rained",
    ):
        assert figure in result.stdout
    assert "1.2 cycles" in result.stdout
    assert "9.09" in result.stdout  # flops a byte where memory's slope meets the peak


def test_the_command_gives_json_and_an_svg(measured, tmp_path):
    result = run("--json", "--svg", str(tmp_path / "roofline.svg"))
    assert result.exit_code == 0, result.output
    assert msgspec.json.decode(result.stdout, type=MachineCard) == machine.card()
    assert (tmp_path / "roofline.svg").read_text().startswith("<svg")


def test_the_command_prints_notes_on_standard_error(measured):
    machine.card_file().parent.mkdir(parents=True)
    machine.card_file().write_text("broken")
    result = run("--json")
    assert "measured anew" in result.stderr
    assert json.loads(result.stdout)["cpu"] == "a processor"


@pytest.mark.parametrize(("missing", "options"), [("matplotlib", ["--svg", "roofline.svg"])])
def test_missing_packages_are_named_before_anything_is_measured(missing, options, measured, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == missing else found(name, *rest)
    )
    result = run(*options)
    assert result.exit_code == 1
    assert f"{missing}, which " in result.stderr
    assert "is not installed: pip install 'loopnest[bench]'" in result.stderr
    assert not measured


def test_an_interrupted_command_says_so(measured, monkeypatch):
    def interrupted(on_event):
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "measure", interrupted)
    result = run()
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_a_card_of_few_facts_can_be_shown():
    """One thread, no L3, no ways: a small board."""
    card = dataclasses.replace(
        CARD,
        cores=1,
        caches=(Cache(1, 32 << 10, 0, 0, False),),
        peaks=tuple(p for p in CARD.peaks if p.threads == 1),
        bandwidths=tuple(b for b in CARD.bandwidths if b.threads == 1 and b.level in ("L1", "memory")),
        isa_levels=("native",),
    )
    card = dataclasses.replace(card, peaks=tuple(dataclasses.replace(p, isa="native") for p in card.peaks))
    console = Console(width=80, record=True, file=io.StringIO())
    for part in report(card):
        console.print(part)
    text = console.export_text()
    assert "1 processor," in text
    assert "L2" not in text
