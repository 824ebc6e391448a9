"""Timing: what is kept of the samples, how they are taken, and whether the intervals hold what they say."""

import gc
import json
import math
import random
import time

import numpy as np
import pytest
from loopnest.timing import engine as timing
from loopnest.timing.engine import (
    Eviction,
    Interval,
    Timing,
    Turn,
    Watch,
    bootstrap,
    calibrate_alike,
    in_turn,
    median_interval,
    no_collection,
    ratio,
    rounds_of_two,
    time_call,
)
from noise import KINDS, FakeClock, noise, turns_of

DUELS = 300


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


def test_the_median_has_a_bootstrap_interval_that_holds_the_truth():
    rng = np.random.default_rng(0)
    draws = [rng.exponential(1.0, 60) for _ in range(DUELS)]
    assert 0.90 <= coverage(bootstrap, math.log(2), draws) <= 0.99


def test_for_ten_samples_the_sign_tests_interval_holds_where_the_bootstraps_does_not():
    """Which is why a ratio has the one and not the other: 99 % is what a look of a duel asks for."""
    rng = np.random.default_rng(1)
    draws = [rng.exponential(1.0, 10) for _ in range(2 * DUELS)]
    assert coverage(lambda x: median_interval(x, 0.99), math.log(2), draws) >= 0.985
    assert coverage(lambda x: bootstrap(x, confidence=0.99, resamples=500), math.log(2), draws) < 0.985


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


def test_the_same_samples_have_the_same_interval_and_the_bests_begins_at_the_best():
    samples = np.random.default_rng(3).exponential(1.0, 50)
    assert bootstrap(samples) == bootstrap(samples)
    best = bootstrap(samples, "best")
    assert best.low == best.estimate == samples.min()
    assert best.high > best.low


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [[1.0], [2.0]]])
def test_what_are_no_samples_is_refused(samples):
    for interval in (bootstrap, median_interval):
        with pytest.raises(ValueError, match="samples has"):
            interval(samples)


# --- records


def test_a_timing_keeps_all_samples_and_survives_json():
    kept = Timing("x", (3.0, 1.0, 2.0), calls=7, first_call=9.0, caches="cold", clock="processor")
    data = json.loads(json.dumps(kept.to_json()))
    assert data["seconds"] == [3.0, 1.0, 2.0]
    assert data["median"]["low"] <= data["median"]["estimate"] == 2.0
    assert "mean" not in data
    assert Timing.from_json(data) == kept


# --- turns


def test_rounds_go_forwards_and_backwards_by_turns():
    order = []
    turns = [Turn(lambda calls, name=name: order.append(name) or 1.0) for name in "AB"]
    next(done for done in in_turn(turns) if done == 4)
    assert "".join(order) == "ABBAABBA"
    assert [len(turn.samples) for turn in turns] == [4, 4]


def test_a_round_has_two_of_each_in_an_order_that_a_coin_decides():
    order = []
    a, b = (Turn(lambda calls, name=name: order.append(name) or 1.0) for name in "ab")
    next(done for done in rounds_of_two(a, b, random.Random(1)) if done == 200)
    rounds = ["".join(order[i : i + 4]) for i in range(0, 800, 4)]
    assert set(rounds) == {"abba", "baab"}
    assert 70 < rounds.count("abba") < 130
    assert len(a.samples) == len(b.samples) == 400


def test_two_that_are_nearly_as_fast_have_as_many_calls_and_others_samples_as_long():
    clock = FakeClock()
    for seconds, calls in [
        ((3e-3, 3e-3), (2, 2)),
        ((1.0e-4, 1.2e-4), (42, 42)),
        ((1e-3, 10e-3), (10, 1)),
        ((4e-4, 2e-4), (13, 26)),
    ]:
        a, b = turns_of(clock, *seconds)
        calibrate_alike(a, b, 5e-3)
        assert (a.calls, b.calls) == calls
    rng = np.random.default_rng(8)
    for _ in range(50):  # an implementation against itself on a busy machine, at the edge between two numbers
        seconds = rng.choice([4.9e-3, 4e-4])
        a, b = turns_of(clock, seconds, seconds, rng=rng, kind="spikes")
        calibrate_alike(a, b, 5e-3)
        assert a.calls == b.calls


def test_a_sample_has_a_call_before_it_that_is_not_timed_and_hooks_around_the_clock():
    log = []
    turn = Turn(
        lambda calls: log.append(calls) or 5.0,
        warm_up=True,
        before=lambda: log.append("before"),
        after=lambda: log.append("after"),
        calls=10,
    )
    turn.take()
    assert log == [1, "before", 10, "after"]
    assert turn.samples == [0.5]


def test_the_first_call_is_told_apart_and_in_no_sample():
    clock = FakeClock()
    took = iter([42.0])

    def timeit(calls):
        seconds = next(took, 0.001 * calls)
        clock.now += seconds
        return seconds

    timed = time_call(lambda: None, "x", seconds=0.1, window=5e-3, clock=clock, timeit=timeit)
    assert timed.first_call == 42.0
    assert timed.calls == 5
    assert timed.seconds == pytest.approx([0.001] * len(timed.seconds))
    assert 16 <= len(timed.seconds) <= 20  # 0.1 s of 5 ms and a call before each


def test_slow_calls_have_five_samples_all_the_same():
    clock = FakeClock()
    (turn,) = turns_of(clock, 10.0)
    assert len(time_call(lambda: None, seconds=0.1, clock=clock, timeit=turn.timeit).seconds) == timing.FEWEST


def test_a_watch_reads_all_clocks():
    watch = Watch(lambda: time.sleep(0.01))
    assert watch(2) >= 0.02
    assert watch.last.processor < 0.01
    assert watch.last.waits >= 2
    busy = Watch(lambda: sum(range(200_000)))
    busy(1)
    assert busy.last.processor > 0


def test_the_collector_is_off_inside_and_as_it_was_afterwards():
    for usual in (gc.disable, gc.enable):
        usual()
        before = gc.isenabled()
        with no_collection():
            assert not gc.isenabled()
        assert gc.isenabled() == before


def test_eviction_reads_more_than_the_largest_cache_holds(monkeypatch):
    monkeypatch.setattr(timing._core, "cache_sizes", lambda: (1 << 15, 1 << 20, 1 << 26))
    assert Eviction().nbytes == 1 << 27
    small = Eviction(1 << 20)
    small()
    assert small.nbytes == 1 << 20
