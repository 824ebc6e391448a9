"""The state of the machine while something is timed: stolen time, the clock, other processes, the noise."""

import dataclasses
import json
import os

import msgspec
import pytest
from loopnest.timing.conditions import Conditions, Load, Monitor, between, noise_floor, quota, usage
from loopnest.timing.interval import Interval
from noise import FakeClock, turns_of


def stat_file(path, user, idle, steal):
    path.write_text(f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 2 3\n")


def watchman(stat):
    return Monitor(stat, turns_of(FakeClock(), 4e-3, 4e-3))


def test_stolen_time_is_told_as_a_share_of_the_busy_time(tmp_path):
    stat = tmp_path / "stat"
    stat_file(stat, 1000, 5000, 10)
    watching = watchman(stat)
    stat_file(stat, 1190, 9000, 20)
    found = watching.conditions()
    assert found.load.steal == pytest.approx(10 / 200)
    assert any("5.0%" in warning for warning in found.load.warnings())


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "nonsense\n"])
def test_a_system_that_does_not_tell_has_no_stolen_time_instead_of_zero(tmp_path, text):
    stat = tmp_path / "stat"
    stat.write_text(text)
    assert watchman(stat).conditions().load.steal is None
    assert watchman(tmp_path / "nowhere").conditions().load.steal is None


def test_the_noise_floor_is_fixed_work_against_itself():
    floor = noise_floor(turns_of(FakeClock(), 4e-3, 4e-3))
    assert floor.low == floor.estimate == floor.high == 1.0
    floor = noise_floor(turns_of(FakeClock(), 4.0e-3, 4.2e-3))  # a machine that favours one of two
    assert Conditions(floor, Load(None, None, 1)).least_difference == pytest.approx(0.05)


def test_the_real_noise_floor_is_near_one():
    found = Monitor().conditions()
    assert 0.5 < found.floor.estimate < 2.0
    assert found.floor.low <= found.floor.estimate <= found.floor.high


def test_conditions_survive_json():
    found = Conditions(Interval(1.0, 0.99, 1.01), Load(0.5, None, 2))
    assert msgspec.convert(json.loads(json.dumps(dataclasses.asdict(found))), Conditions) == found
    assert found.least_difference == pytest.approx(0.01)


# --- what else the machine does


def test_other_load_and_steal_come_from_the_systems_counters(tmp_path, monkeypatch):
    ticks = os.sysconf("SC_CLK_TCK")

    def at(seconds, own, user, steal):
        (tmp_path / "stat").write_text(f"cpu  {user * ticks} 0 {ticks} 99999 0 0 0 {steal * ticks} 0 0\ncpu0 1 2 3\n")
        return usage(tmp_path / "stat")._replace(passed=seconds, own=own)

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    start = at(seconds=100.0, own=1.0, user=50, steal=5)
    quiet = between(start, at(seconds=110.0, own=11.0, user=60, steal=5))
    assert quiet == Load(others=0.0, steal=0.0, processors=4)
    assert not quiet.warnings()
    busy = between(start, at(seconds=110.0, own=11.0, user=85, steal=9))
    assert busy == Load(others=2.5, steal=4 / 39, processors=4)
    others, steal = busy.warnings()
    assert "2.5 of 4 processors" in others
    assert "10.3%" in steal


def test_a_system_without_counters_disturbs_nothing(tmp_path):
    nothing = between(usage(tmp_path / "nowhere"), usage(tmp_path / "nowhere"))
    assert nothing.others is None
    assert not nothing.warnings()


@pytest.mark.parametrize(("content", "processors"), [("150000 100000", 1.5), ("max 100000", None), ("", None)])
def test_a_quota_is_read(content, processors, tmp_path):
    (tmp_path / "cpu.max").write_text(content)
    assert quota(tmp_path / "cpu.max") == processors
