"""The state of the machine while something is timed: stolen time, the clock, other processes, the noise."""

import dataclasses
import json
import os

import msgspec
import pytest
from loopnest.backends.cgroups import cpu_quota, memory_left
from loopnest.machine.probes import available_memory
from loopnest.timing.conditions import Conditions, Load, Monitor, between, noise_floor, usage
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


def in_groups(root, groups, mounts, **files):
    """A system's root in which this process is in these control groups, and files of groups by path."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in groups))
    (root / "proc/self/mountinfo").write_text("".join(f"31 23 0:28 {line}\n" for line in mounts))
    for path, content in files.items():
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")


V2 = ["/ /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw"]
V1 = [
    "/ /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "/ /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "/ /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
]


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "processors"),
    [
        (["0::/"], V2, {"cpu.max": "150000 100000"}, 1.5),
        (["0::/"], V2, {"cpu.max": "max 100000"}, None),
        (["0::/"], V2, {"cpu.max": ""}, None),
        (["0::/a/b"], V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
        (["0::/a/b"], V2, {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        (["0::/a/b"], V2, {"c/cpu.max": "50000 100000"}, None),
        (["0::/docker/x"], [V2[0].replace("/ ", "/docker/x ", 1)], {"cpu.max": "250000 100000"}, 2.5),
        (["0::/../.."], V2, {"cpu.max": "250000 100000"}, 2.5),
        (
            ["4:cpu,cpuacct:/a", "0::/"],
            V1,
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "75000", "cpu,cpuacct/a/cpu.cfs_period_us": "50000"},
            1.5,
        ),
        (
            ["4:cpu,cpuacct:/a"],
            V1,
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "50000"},
            None,
        ),
        (["4:cpu,cpuacct:/a"], [], {}, None),
    ],
)
def test_the_least_quota_on_the_path_of_control_groups_counts(groups, mounts, files, processors, tmp_path):
    in_groups(tmp_path, groups, mounts, **files)
    assert cpu_quota(tmp_path) == processors


def test_a_system_without_control_groups_has_no_limits(tmp_path):
    assert cpu_quota(tmp_path) is None
    assert memory_left(tmp_path) is None


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "left"),
    [
        (["0::/a"], V2, {"a/memory.max": "3000", "a/memory.current": "1000"}, 2000),
        (["0::/a"], V2, {"a/memory.max": "max", "a/memory.current": "1000"}, None),
        (
            ["0::/a/b"],
            V2,
            {"a/b/memory.max": "9000", "a/b/memory.current": "0", "a/memory.max": "500", "a/memory.current": "600"},
            0,
        ),
        (
            ["9:memory:/a/b"],
            V1,
            {"memory/a/memory.limit_in_bytes": "4000", "memory/a/memory.usage_in_bytes": "1500"},
            2500,
        ),
    ],
)
def test_the_least_memory_on_the_path_of_control_groups_counts(groups, mounts, files, left, tmp_path):
    in_groups(tmp_path, groups, mounts, **files)
    assert memory_left(tmp_path) == left
    assert available_memory(tmp_path) == (4 << 30 if left is None else left)
    (tmp_path / "proc/meminfo").write_text("MemTotal:       8000 kB\nMemAvailable:   6000 kB\n")
    assert available_memory(tmp_path) == (6000 << 10 if left is None else left)
