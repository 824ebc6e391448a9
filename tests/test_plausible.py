"""Can it be true? Times beyond the limits are refused."""

import dataclasses

import pytest
from loopnest.machine import limits
from loopnest.machine.limits import Work, why_impossible


class Card:
    """A machine of 100 GFLOP/s and 50 GB/s."""

    def peak(self, dtype="float32", threads=1, isa=None):
        return threads * 100e9

    def least_seconds(self, flops, bytes, dtype="float32", threads=1):
        return max(flops / self.peak(dtype, threads), bytes / 50e9)


REALLY = limits.peak_now, limits.bandwidth_now
COMPUTE = Work(flops=2e9, bytes=1e6, dtype="float32", threads=1)  # 20 ms at the peak
MOVE = Work(flops=1e6, bytes=1e9, dtype="float32", threads=1)  # 20 ms


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """Sets what the limits are when they are measured again: a little slower at first."""

    def set_limits(peak, bandwidth):
        monkeypatch.setattr(limits, "peak_now", lambda dtype, threads: peak)
        monkeypatch.setattr(limits, "bandwidth_now", lambda nbytes: bandwidth)

    set_limits(90e9, 45e9)
    return set_limits


@pytest.mark.parametrize(("work", "unit", "rate"), [(COMPUTE, "GFLOP/s", "200"), (MOVE, "GB/s", "100")])
def test_a_time_that_beats_the_limit_is_refused_and_explained(work, unit, rate):
    reason = why_impossible("mine", work, 0.010, Card())
    assert f"mine would reach {rate} {unit}" in reason
    assert f"measured to reach {'100' if work is COMPUTE else '50'}" in reason
    assert "factor of 2 is not believed" in reason


@pytest.mark.parametrize("work", [COMPUTE, MOVE])
def test_a_time_at_the_limit_is_believed_with_two_per_cent_for_the_noise(work):
    assert why_impossible("mine", work, 0.0200, Card()) is None
    assert why_impossible("mine", work, 0.0197, Card()) is None
    assert why_impossible("mine", work, 0.0195, Card()) is not None


@pytest.mark.parametrize("work", [COMPUTE, MOVE])
def test_a_limit_is_measured_again_before_anybody_is_refused(work, now):
    """A kept card may be from a slower hour; at 200 GFLOP/s and 90 GB/s it can be true, and at more it cannot."""
    now(200e9, 90e9)
    assert why_impossible("mine", work, 0.0115, Card()) is None
    assert why_impossible("mine", work, 0.0050, Card()) is not None


def test_more_threads_have_a_higher_limit():
    two = dataclasses.replace(COMPUTE, threads=2)
    assert why_impossible("mine", two, 0.0105, Card()) is None
    assert why_impossible("mine", COMPUTE, 0.0105, Card()) is not None


def test_the_limits_are_really_measured():
    assert REALLY[0]("float32", 1) > 1e8
    assert REALLY[1](1 << 14) > 1e8
