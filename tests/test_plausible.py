"""Can it be true? Times beyond the limits are refused; the machine's state is watched."""

import dataclasses
import json

import msgspec
import pytest
from loopnest.machine.plausible import MeasuredNow, Work, why_impossible
from loopnest.timing.conditions import Conditions, Monitor, noise_floor
from loopnest.timing.interval import Interval
from loopnest.timing.turns import Reading
from noise import FakeClock, turns_of


class Card:
    """A machine of 100 GFLOP/s and 50 GB/s."""

    def peak(self, dtype="float32", threads=1, isa=None):
        return threads * 100e9

    def least_seconds(self, flops, bytes, dtype="float32", threads=1, level="memory"):
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


# --- the state of the machine


def stat_file(path, user, idle, steal):
    path.write_text(f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 2 3\n")


def watchman(stat, rates=(1.0, 1.0)):
    rates = iter(rates)
    return Monitor(stat, lambda: next(rates), turns_of(FakeClock(), 4e-3, 4e-3))


def test_stolen_time_is_told_as_a_share_of_the_busy_time(tmp_path):
    stat = tmp_path / "stat"
    stat_file(stat, 1000, 5000, 10)
    watching = watchman(stat)
    stat_file(stat, 1190, 9000, 20)
    found = watching.conditions()
    assert found.steal == pytest.approx(10 / 200)
    assert any("5.0%" in warning for warning in found.warnings())


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "nonsense\n"])
def test_a_system_that_does_not_tell_has_no_stolen_time_instead_of_zero(tmp_path, text):
    stat = tmp_path / "stat"
    stat.write_text(text)
    assert watchman(stat).conditions().steal is None
    assert watchman(tmp_path / "nowhere").conditions().steal is None


def test_a_clock_that_moves_is_warned_of(tmp_path):
    drifted = watchman(tmp_path / "stat", rates=(100.0, 95.0)).conditions()
    assert drifted.drift == pytest.approx(0.95)
    assert any("0.950 of its rate" in warning for warning in drifted.warnings())
    assert not watchman(tmp_path / "stat", rates=(100.0, 99.0)).conditions().warnings()


def test_the_share_of_other_processes_is_told(tmp_path):
    found = watchman(tmp_path / "stat").conditions([Reading(1.0, 0.7, 0), Reading(1.0, 0.5, 0)])
    assert found.share == pytest.approx(0.6)
    assert any("40%" in warning for warning in found.warnings())


def test_the_noise_floor_is_fixed_work_against_itself():
    floor, spread = noise_floor(turns_of(FakeClock(), 4e-3, 4e-3))
    assert floor.low == floor.estimate == floor.high == 1.0
    assert spread == 0.0
    floor, spread = noise_floor(turns_of(FakeClock(), 4.0e-3, 4.2e-3))  # a machine that favours one of two
    assert Conditions(floor, spread, None, 1.0).least_difference == pytest.approx(0.05)
    assert spread == pytest.approx(0.05)


def test_the_real_noise_floor_is_near_one():
    found = Monitor().conditions()
    assert 0.5 < found.floor.estimate < 2.0
    assert found.floor.low <= found.floor.estimate <= found.floor.high
    assert 0.2 < found.drift < 5.0


def test_conditions_survive_json():
    found = Conditions(Interval(1.0, 0.99, 1.01), 0.02, None, 1.0, 0.9)
    assert msgspec.convert(json.loads(json.dumps(dataclasses.asdict(found))), Conditions) == found
    assert found.least_difference == pytest.approx(0.01)
