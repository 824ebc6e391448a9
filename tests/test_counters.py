"""Hardware counters: what the kernel counts has a value; what it does not count has a reason and never a number."""

import errno
import mmap
import os
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.layout import counters
from loopnest.layout.counters import EVENTS, Count, count, perf_event_open, report


def counted(value, wanted, ran):
    return counters._count(struct.pack("=QQQ", value, wanted, ran))


def test_a_count_is_scaled_to_the_time_that_it_covers_and_is_no_zero_where_it_never_ran():
    assert counted(1000, 50, 50) == Count(1000)
    assert counted(0, 100, 100) == Count(0)
    assert counted(1000, 100, 25) == Count(4000, 0.25)
    never = counted(0, 100, 0)
    assert never.value is None
    assert "other events held the processor's counters" in never.reason


def test_the_report_has_estimates_ratios_and_what_is_missing():
    events = {"cycles": Count(4000, 0.25), "instructions": Count(6000), "page faults": Count(None, 0.0, "forbidden")}
    assert [line.split() for line in report(events, calls=2)] == [
        ["cycles", "2,000", "estimated:", "counted", "25", "%", "of", "the", "time"],
        ["instructions", "3,000"],
        ["instructions", "a", "cycle", "1.50"],
        ["not", "counted:", "page", "faults", "forbidden"],
    ]


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOENT, "virtual machine"), (errno.EINVAL, "virtual machine"), (errno.EACCES, "perf_event_paranoid=1"),
     (errno.EPERM, "--cap-add PERFMON"), (errno.EMFILE, "Too many open files"), (9999, "9999")],
)  # fmt: skip
def test_a_counter_that_is_not_there_is_none_with_the_reason(number, hint, monkeypatch):
    def refused(*attributes, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(counters, "perf_event_open", refused)
    cycles = count(lambda: None)["cycles"]
    assert cycles.value is None
    assert os.strerror(number) in cycles.reason
    assert hint in cycles.reason


def test_elsewhere_than_on_linux_the_call_is_made_and_everything_has_the_reason(monkeypatch):
    monkeypatch.setattr(counters.sys, "platform", "darwin")
    calls = []
    found = count(lambda: calls.append(1), calls=3)
    assert len(calls) == 3
    assert all(event.value is None and "Linux" in event.reason for event in found.values())


# --- this system's kernel


@pytest.fixture
def here():
    def touch():
        fresh = np.frombuffer(mmap.mmap(-1, 1 << 25), np.uint8)
        fresh[::4096] = 1

    found = count(touch)
    if found["page faults"].value is None:
        pytest.skip(found["page faults"].reason)
    return found


def test_every_event_has_a_value_or_a_reason():
    found = count(lambda: None)
    assert list(found) == list(EVENTS)
    for event in found.values():
        assert (event.value is None) == (event.reason is not None)


def test_page_faults_of_fresh_memory_are_counted(here):
    """32 MiB that nobody has touched: a fault for each page, of 4 KiB or of 2 MiB."""
    assert here["page faults"].value >= 8
    assert count(lambda: None)["page faults"].value < here["page faults"].value


def test_hardware_counts_instructions_where_it_counts_at_all():
    few, many = (count(lambda n=n: sum(range(n)))["instructions"] for n in (1_000, 1_000_000))
    if few.value is None:
        pytest.skip(few.reason)
    assert many.value > 100 * few.value or many.value > 1_000_000


def test_descriptors_are_closed_whatever_happens(here):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        count(lambda: None)
    with pytest.raises(ZeroDivisionError):
        count(lambda: 1 / 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_unknown_event_is_refused(here):
    with pytest.raises(OSError, match=r"."):
        perf_event_open(type=3, config=0xFFFF)


def run(*args):
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, args, prog_name="loopnest")


def test_the_command_prints_what_there_is_and_why_the_rest_is_not():
    result = run("inspect", "transpose", "cpp.naive", "--counters", "--workload", "square-64", "--calls", "2")
    assert result.exit_code == 0
    assert "counters of cpp.naive on square-64, a call's share of 2" in result.output
    for event in EVENTS:
        assert event in result.output


def test_the_command_says_what_is_wrong():
    result = run("inspect", "matmul", "cpp.naive", "--workload", "huge", "--counters")
    assert result.exit_code == 1
    assert "no workload is called 'huge'" in result.output
    assert "Traceback" not in result.output
