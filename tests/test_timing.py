"""Timing: how samples are taken and kept, whether the intervals hold what they say, and when a contest ends."""

import dataclasses
import gc
import json
import math
import random
import threading
import time
import zlib
from pathlib import Path

import loopnest as ln
import msgspec
import numpy as np
import pytest
from loopnest.timing import budget, turns
from loopnest.timing.interval import Interval, median_interval, ratio, ratio_of_runs
from loopnest.timing.turns import (
    FEWEST_OF_TWO,
    Reading,
    Timing,
    Turn,
    calibrate,
    looks,
    run_rounds,
    run_until_certain,
    time_call,
    wait_for_other_threads,
)
from noise import KINDS, FakeClock, noise, turns_of

DUELS = 300


# --- threads that keep looking for work after a call


def looking(seconds):
    """A thread that keeps a processor busy for this long, without Python's lock for most of it."""

    def look():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            zlib.crc32(bytes(1 << 20))

    thread = threading.Thread(target=look)
    thread.start()
    return thread


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux says which threads run")
def test_the_next_sample_waits_until_other_threads_sleep():
    thread = looking(0.15)
    wait_for_other_threads(10)
    assert not thread.is_alive()
    thread = looking(0.5)
    wait_for_other_threads(0.02)
    assert thread.is_alive()  # for a time only
    thread.join()


def test_a_sample_of_several_threads_waits_for_them_and_wakes_them_outside_of_the_time(monkeypatch):
    calls, waits, clock = [], [], iter([0.0, 0.019, 1.0, 1.0, 1.010, 1.011, 2.0, 2.0])
    monkeypatch.setattr(turns, "wait_for_other_threads", lambda: waits.append(len(calls)))
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    seconds = iter([0.0, 0.010, 1.0, 1.010, 2.0, 2.010, 3.0, 3.010])
    monkeypatch.setattr(time, "perf_counter", lambda: next(seconds))
    sample = turns.clocked(calls.append)
    assert sample(5).processor == 0.019  # in 0.010 s: two processors
    sample(5), sample(5)
    assert calls == [5, 1, 5, 5]
    assert waits == [1]


# --- intervals


def coverage(interval, truth, draws):
    return np.mean([interval(draw).holds(truth) for draw in draws])


def played(rng, rounds, b, noise_of):
    """The samples of a and b in rounds whose order a coin decides, in noise that goes on from sample to sample."""
    log = np.exp(noise_of(4 * rounds)).reshape(rounds, 4)
    flipped = rng.random(rounds) < 0.5
    outer, inner = log[:, [0, 3]], log[:, [1, 2]]
    first, second = np.where(flipped[:, None], inner, outer), np.where(flipped[:, None], outer, inner)
    return first.reshape(-1), b * second.reshape(-1)


@pytest.mark.parametrize("rounds", [8, 20, 80])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ratios_interval_holds_the_truth_in_nine_of_ten_duels_and_more(kind, rounds):
    """95 % is what it says."""
    rng = np.random.default_rng(rounds)
    duels = [played(rng, rounds, 1.31, lambda n: noise(rng, kind, n)) for _ in range(DUELS)]
    assert coverage(lambda pair: ratio(*pair), 1.31, duels) >= 0.91


def test_a_disturbance_in_step_with_the_rounds_favours_nobody():
    """Somebody takes the processor in every fourth sample and the next, which without the coin would always be b's."""
    rng = np.random.default_rng(4)
    in_step = lambda n: np.tile([0.0, 0.2, 0.2, 0.0], n // 4) + 0.01 * rng.random(n)  # noqa: E731
    duels = [played(rng, 40, 1.0, in_step) for _ in range(DUELS)]
    assert coverage(lambda pair: ratio(*pair), 1.0, duels) >= 0.93


def bootstrap(samples, confidence):
    """The percentile bootstrap of the median: what this lab does not use."""
    samples = np.asarray(samples)
    draws = np.random.default_rng(0).integers(0, len(samples), (500, len(samples)))
    return Interval(0.0, *np.quantile(np.median(samples[draws], axis=1), [(1 - confidence) / 2, (1 + confidence) / 2]))


def test_for_ten_samples_the_sign_tests_interval_holds_where_the_bootstraps_does_not():
    """99 % is what a look of a duel asks for."""
    rng = np.random.default_rng(1)
    draws = [rng.exponential(1.0, 10) for _ in range(2 * DUELS)]
    assert coverage(lambda x: median_interval(x, 0.99), math.log(2), draws) >= 0.985
    assert coverage(lambda x: bootstrap(x, 0.99), math.log(2), draws) < 0.985


@pytest.mark.parametrize("n", [8, 40])
def test_the_ratio_of_two_runs_holds_the_truth_in_19_of_20_runs(n):
    """Times with a long tail, as real ones have; the second run takes 1.1 times as long."""
    rng = np.random.default_rng(7)
    runs = [[factor * (1 + rng.exponential(0.05, n)) for factor in (1.0, 1.1)] for _ in range(DUELS)]
    assert coverage(lambda pair: ratio_of_runs(*pair), 1.1, runs) >= 0.94
    widths = [ratio_of_runs(*pair).width for pair in runs]
    assert np.median(widths) < (0.16 if n == 8 else 0.07)
    assert ratio_of_runs([1.0] * 5, [2.0] * 50) == Interval(2.0, 0.0, math.inf)


@pytest.mark.parametrize("n", [6, 9, 40, 301])
def test_the_sign_tests_interval_is_the_narrowest_with_its_confidence(n):
    """Against the binomial distribution, summed by hand."""
    found = median_interval(range(n))
    rank = int(found.low) + 1
    below = [math.comb(n, k) / 2**n for k in range(n + 1)]
    assert found.high == n - rank
    assert 1 - 2 * sum(below[:rank]) >= 0.95
    assert 1 - 2 * sum(below[: rank + 1]) < 0.95


def test_too_few_samples_have_an_interval_without_bounds():
    assert median_interval([1.0, 2.0, 3.0]) == Interval(2.0, -math.inf, math.inf)
    assert ratio([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]).high == math.inf


def test_the_better_sample_of_a_round_counts():
    hit = np.random.default_rng(9).uniform(1.1, 2.0, 20)
    a, b = np.array([[1.0, 1.0], [1.0, 1.3]] * 10), np.stack([2 * hit, np.full(20, 2.0)], axis=1)
    assert ratio(a.reshape(-1), b.reshape(-1)) == Interval(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0))


def test_the_ratio_of_b_to_a_is_the_inverse_of_that_of_a_to_b():
    rng = np.random.default_rng(2)
    a, b = np.exp(noise(rng, "bursts", 42)), 2 * np.exp(noise(rng, "bursts", 42))
    there, back = ratio(a, b), ratio(b, a)
    np.testing.assert_allclose(
        [back.estimate, back.low, back.high], [1 / there.estimate, 1 / there.high, 1 / there.low]
    )


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [[1.0], [2.0]]])
def test_what_are_no_samples_is_refused(samples):
    with pytest.raises(ValueError, match="samples has"):
        median_interval(samples)


# --- records


def test_a_timing_keeps_all_samples_and_survives_json():
    kept = Timing("x", (3.0, 1.0, 2.0), calls=7, first_call=9.0, clock="processor")
    assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(kept))), Timing) == kept
    assert (kept.best, kept.median) == (1.0, 2.0)


# --- turns


def test_a_round_has_two_samples_of_each_in_a_random_order_and_back_again():
    order = []
    turns = [Turn(name, sample=lambda calls, name=name: order.append(name) or 1.0) for name in "abc"]
    assert run_rounds(turns, seconds=0.0, least=600, coin=random.Random(1)) == 600
    rounds = ["".join(order[i : i + 6]) for i in range(0, 3600, 6)]
    assert all(one[:3] == one[:2:-1] for one in rounds)
    assert {one[:3] for one in rounds} == {"abc", "acb", "bac", "bca", "cab", "cba"}
    assert all(70 < sum(one.startswith(start) for one in rounds) < 130 for start in ("abc", "cab", "bca"))
    assert [len(turn.samples) for turn in turns] == [1200] * 3


def test_rounds_end_after_the_seconds_and_the_fewest_or_when_it_is_enough():
    clock = FakeClock()
    assert run_rounds(turns_of(clock, 1.0), seconds=9.0, clock=clock) == 5
    assert run_rounds(turns_of(clock, 1.0), seconds=9.0, least=2, clock=clock) == 5
    assert run_rounds(turns_of(clock, 10.0), seconds=9.0, least=2, clock=clock) == 2
    assert run_rounds(turns_of(clock, 1.0), until=lambda rounds: rounds == 3, clock=clock) == 3


def test_turns_that_are_nearly_as_fast_have_as_many_calls_and_others_samples_as_long():
    clock = FakeClock()
    for seconds, calls in [
        ((3e-3, 3e-3), (2, 2)),
        ((1.0e-4, 1.2e-4), (42, 42)),
        ((1e-3, 10e-3), (10, 1)),
        ((4e-4, 2e-4), (13, 26)),
        ((1e-3, 1.0, 0.9), (20, 1, 1)),
    ]:
        pair = turns_of(clock, *seconds)
        calibrate(pair, 5e-3, longest=20e-3)
        assert tuple(turn.calls for turn in pair) == calls
    rng = np.random.default_rng(8)
    for _ in range(50):  # an implementation against itself on a busy machine, at the edge between two numbers
        seconds = rng.choice([4.9e-3, 4e-4])
        a, b = turns_of(clock, seconds, seconds, rng=rng, kind="spikes")
        calibrate((a, b), 5e-3)
        assert a.calls == b.calls


def test_the_hooks_of_a_sample_are_called_around_the_clock():
    log = []
    turn = Turn(
        "x",
        sample=lambda calls: log.append(calls) or 5.0,
        prepare=lambda: log.append("prepare"),
        check=lambda: log.append("check"),
        calls=10,
    )
    turn.take()
    assert log == ["prepare", 10, "check"]
    assert turn.samples == [0.5]
    with pytest.raises(ValueError, match="x has both call and sample or neither"):
        Turn("x")


def test_the_clock_can_be_chosen_when_the_samples_are_there():
    turn = Turn("x", sample=lambda calls: Reading(3.0, 2.0, 0), calls=2)
    turn.take()
    assert turn.samples == [1.5]
    turn.clock = "processor"
    assert turn.samples == [1.0]
    assert turn.timing(9.0).clock == "processor"


def test_the_first_call_of_a_timing_is_in_no_sample():
    took = iter([0.05])
    timed = time_call(lambda: time.sleep(next(took, 0)), "x", seconds=0.02, window=1e-3)
    assert timed.first_call >= 0.05
    assert max(timed.seconds) < 0.05
    assert len(timed.seconds) >= 10
    assert timed.calls > 1


def test_a_reading_has_all_clocks():
    waiting = Turn("x", lambda: time.sleep(0.01)).read(2)
    assert waiting.elapsed >= 0.02
    assert waiting.processor < 0.01
    assert waiting.waits >= 2
    assert Turn("busy", lambda: sum(range(200_000))).read().processor > 0


def test_the_collector_is_off_inside_rounds_and_as_it_was_afterwards():
    for set_collector in (gc.disable, gc.enable):
        set_collector()
        before = gc.isenabled()
        turn = Turn("x", sample=lambda calls: float(gc.isenabled()))
        run_rounds([turn], seconds=0.0)
        assert not any(turn.samples)
        assert gc.isenabled() == before


# --- two turns, until it is certain which one is faster


def contest(rng, kind, b, seconds=2.0, precision=0.01):
    """Turns of 5 ms and of b times that in made-up noise."""
    clock = FakeClock()
    pair = turns_of(clock, 5e-3, b * 5e-3, rng=rng, kind=kind)
    coin = random.Random(int(rng.integers(1 << 30)) if rng else 0)
    return run_until_certain(*pair, seconds=seconds, precision=precision, clock=clock, coin=coin)


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_ratio_is_in_the_interval_of_nine_of_ten_contests_whenever_they_end(kind):
    rng = np.random.default_rng(5)
    contests = [contest(rng, kind, b=1.31, precision=0.02) for _ in range(200)]
    assert sum(outcome.ratio.holds(1.31) for outcome in contests) >= 0.93 * len(contests)
    assert {outcome.ended for outcome in contests} >= {"narrow"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_against_itself_is_unresolved_in_ninety_eight_of_a_hundred_contests(kind):
    rng = np.random.default_rng(6)
    contests = [contest(rng, kind, b=1.0, precision=0.02) for _ in range(200)]
    assert sum(outcome.certain.holds(1.0) for outcome in contests) >= 0.98 * len(contests)


def test_it_ends_when_the_interval_is_narrow_enough_or_the_time_is_up():
    outcome = contest(None, "", b=1.5)  # without noise
    assert (outcome.rounds, outcome.ended) == (looks(80)[0], "narrow")
    assert outcome.ratio == Interval(pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5), 0.95)
    assert outcome.certain == dataclasses.replace(outcome.ratio, confidence=0.99)
    outcome = contest(np.random.default_rng(7), "spikes", b=1.5, precision=1e-9)
    assert outcome.ended == "time"
    assert outcome.certain.low <= outcome.ratio.low < outcome.ratio.high <= outcome.certain.high
    assert 60 < outcome.rounds < 85  # of 2 x (5 + 7.5) ms and noise in 2 s


def test_the_interval_is_asked_for_at_few_looks_that_share_the_error(monkeypatch):
    asked = []
    wide = Interval(1.0, 0.5, 2.0)
    monkeypatch.setattr(turns, "ratio", lambda a, b, confidence: asked.append((len(a) // 2, confidence)) or wide)
    clock = FakeClock()
    outcome = run_until_certain(*turns_of(clock, 1e-3, 1e-3), seconds=1.6, precision=0.01, clock=clock)
    assert outcome.rounds == 400
    assert [n for n, _ in asked[::2]] == looks(400) == [25, 50, 100, 200, 400]
    assert {round(confidence, 9) for _, confidence in asked} == {0.99, 0.998}


def test_slow_rounds_are_as_few_as_an_interval_takes_and_too_slow_ones_are_refused():
    clock = FakeClock()
    how = {"seconds": 1.0, "precision": 0.01, "clock": clock}
    assert run_until_certain(*turns_of(clock, 0.5, 0.5), **how).rounds == FEWEST_OF_TWO
    with pytest.raises(ValueError, match=r"a round takes 8 s, and 10 are needed.*--seconds 80"):
        run_until_certain(*turns_of(clock, 2.0, 2.0), **how)


# --- which workloads fit


@pytest.mark.parametrize(("rate", "largest"), [(1e9, "square-128"), (100e9, "square-1024"), (1e4, "square-16")])
def test_the_largest_workload_fits_that_there_is_time_for(rate, largest):
    """And none of another kind: a row times a large matrix has fewer flops than square-256, and waits for memory."""
    contract = ln.matmul.contract
    found = budget.fitting(contract, 25e-3, lambda workload: contract.flops(**workload.shape) / rate)
    assert found[-1].name == largest


def test_what_would_take_too_long_is_not_measured():
    measured = []

    def measure(workload):
        measured.append(workload.name)
        return {"square-16": None, "square-64": 1e-3}.get(workload.name, math.inf)

    assert [w.name for w in budget.fitting(ln.matmul.contract, 25e-3, measure)] == ["square-16", "square-64"]
    assert measured == ["square-16", "square-64", "square-128"]
