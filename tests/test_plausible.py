"""Can it be true? Times beyond the limits are refused."""

import dataclasses

import pytest
from loopnest.machine.plausible import MeasuredNow, Work, why_impossible


class Card:
    """A machine of 100 GFLOP/s and 50 GB/s."""

    def peak(self, dtype="float32", threads=1, isa=None):
        return threads * 100e9

    def least_seconds(self, flops, bytes, dtype="float32", threads=1):
        return max(flops / self.peak(dtype, threads), bytes / 50e9)


SLOWER = MeasuredNow(peak=lambda dtype, threads: 90e9, bandwidth=lambda nbytes: 45e9)
FASTER = MeasuredNow(peak=lambda dtype, threads: 200e9, bandwidth=lambda nbytes: 90e9)
COMPUTE = Work(flops=2e9, bytes=1e6, dtype="float32", threads=1)  # 20 ms at the peak
MOVE = Work(flops=1e6, bytes=1e9, dtype="float32", threads=1)  # 20 ms


@pytest.mark.parametrize(("work", "unit", "rate"), [(COMPUTE, "GFLOP/s", "200"), (MOVE, "GB/s", "100")])
def test_a_time_that_beats_the_limit_is_refused_and_explained(work, unit, rate):
    reason = why_impossible("mine", work, 0.010, Card(), SLOWER)
    assert f"mine would reach {rate} {unit}" in reason
    assert f"measured to reach {'100' if work is COMPUTE else '50'}" in reason
    assert "factor of 2 is not believed" in reason


@pytest.mark.parametrize("work", [COMPUTE, MOVE])
def test_a_time_at_the_limit_is_believed_with_two_per_cent_for_the_noise(work):
    assert why_impossible("mine", work, 0.0200, Card(), SLOWER) is None
    assert why_impossible("mine", work, 0.0197, Card(), SLOWER) is None
    assert why_impossible("mine", work, 0.0195, Card(), SLOWER) is not None


@pytest.mark.parametrize("work", [COMPUTE, MOVE])
def test_a_limit_is_measured_again_before_anybody_is_refused(work):
    """A kept card may be from a slower hour; at 200 GFLOP/s and 90 GB/s it can be true, and at more it cannot."""
    assert why_impossible("mine", work, 0.0115, Card(), FASTER) is None
    assert why_impossible("mine", work, 0.0050, Card(), FASTER) is not None


def test_more_threads_have_a_higher_limit():
    two = dataclasses.replace(COMPUTE, threads=2)
    again = MeasuredNow(peak=lambda dtype, threads: 1.0)
    assert why_impossible("mine", two, 0.0105, Card(), again) is None
    assert why_impossible("mine", COMPUTE, 0.0105, Card(), again) is not None


def test_the_limits_are_really_measured_where_nothing_else_is_given():
    again = MeasuredNow()
    assert again.peak("float32", 1) > 1e8
    assert again.bandwidth(1 << 14) > 1e8
