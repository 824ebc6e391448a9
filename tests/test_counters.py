"""Hardware counters: what the kernel counts has a value; what it does not count has a reason and never a number."""

import errno
import mmap
import os
import struct
import time

import loopnest as ln
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.layout import counters
from loopnest.layout.counters import (
    EVENTS,
    Count,
    Event,
    count,
    count_implementation,
    default_workload,
    explained,
    report,
)

CYCLES, MISSES, SWITCHES = EVENTS[0], EVENTS[3], EVENTS[9]


class MadeUpKernel:
    """Gives an event the numbers (value, ns wanted, ns run), or an error's number."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", " "): answer for name, answer in answers.items()}
        self.log = []

    def open(self, event):
        answer = self.answers.get(event.name, errno.ENOENT)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        self.log.append(("open", event.name))
        return EVENTS.index(event)

    def start(self, counter):
        self.log.append(("start", EVENTS[counter].name))

    def stop(self, counter):
        self.log.append(("stop", EVENTS[counter].name))

    def read(self, counter):
        return struct.pack("=QQQ", *self.answers[EVENTS[counter].name])

    def close(self, counter):
        self.log.append(("close", EVENTS[counter].name))


def test_a_counter_that_ran_all_the_time_has_its_value():
    counted = count(lambda: None, kernel=MadeUpKernel(cycles=(1000, 50, 50)))
    assert counted["cycles"] == Count("cycles", 1000)


def test_a_counter_that_took_turns_is_scaled_and_says_so():
    counted = count(lambda: None, kernel=MadeUpKernel(cycles=(1000, 100, 25)))
    assert counted["cycles"].value == 4000
    assert counted["cycles"].share == 0.25
    assert any("estimated: counted 25 % of the time" in line for line in report(counted))


def test_a_counter_that_never_ran_is_none_and_no_zero():
    counted = count(lambda: None, kernel=MadeUpKernel(cycles=(0, 100, 0), instructions=(0, 100, 100)))
    assert counted["cycles"].value is None
    assert "never ran it" in counted["cycles"].reason
    assert counted["instructions"] == Count("instructions", 0)
    assert counted.ratio("instructions", "cycles") is None


@pytest.mark.parametrize(
    "number", [errno.ENOENT, errno.EINVAL, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EMFILE, 9999]
)
def test_a_counter_that_is_not_there_is_none_with_the_reason(number):
    counted = count(lambda: None, kernel=MadeUpKernel(cycles=number, page_faults=(3, 1, 1)))
    assert counted["cycles"].value is None
    assert counted["cycles"].reason
    assert counted["page faults"].value == 3
    assert "not counted: cycles" in "\n".join(report(counted))


def test_virtual_machines_are_named(monkeypatch):
    for number in (errno.ENOENT, errno.EINVAL):
        reason = explained(CYCLES, OSError(number, ""))
        assert reason.startswith(errno.errorcode[number])
        assert "virtual machine" in reason


def test_a_forbidding_kernel_is_named_with_the_setting_that_allows_it(monkeypatch, tmp_path):
    setting = tmp_path / "perf_event_paranoid"
    monkeypatch.setattr(counters, "PARANOID", setting)
    denied = OSError(errno.EACCES, "")
    setting.write_text("4\n")
    assert "perf_event_paranoid is 4; allow it with: sudo sysctl kernel.perf_event_paranoid=2" in explained(
        CYCLES, denied
    )
    setting.write_text("2\n")
    assert "CAP" not in explained(SWITCHES, denied)
    assert "sudo sysctl kernel.perf_event_paranoid=1" in explained(SWITCHES, denied)
    assert "--cap-add PERFMON" in explained(CYCLES, denied)  # at 2 it is no longer the setting
    setting.unlink()
    assert "--cap-add PERFMON" in explained(CYCLES, denied)


def test_counters_stand_still_but_for_the_calls_and_are_closed_whatever_happens():
    kernel = MadeUpKernel(cycles=(1, 1, 1), cache_misses=(1, 1, 1))
    count(lambda: kernel.log.append("call"), calls=2, kernel=kernel)
    both = "cycles", "cache misses"
    assert kernel.log == [
        *(("open", name) for name in both), *(("start", name) for name in both), "call", "call",
        *(("stop", name) for name in both), *(("close", name) for name in reversed(both)),
    ]  # fmt: skip
    kernel.log.clear()
    with pytest.raises(ZeroDivisionError):
        count(lambda: 1 / 0, kernel=kernel)
    assert kernel.log[-2:] == [("close", name) for name in reversed(both)]


def test_elsewhere_than_on_linux_the_call_is_made_and_everything_has_the_reason(monkeypatch):
    monkeypatch.setattr(counters.sys, "platform", "darwin")
    calls = []
    counted = count(lambda: calls.append(1), calls=3)
    assert len(calls) == 3
    assert all(event.value is None and "Linux" in event.reason for event in counted.events)


def test_calls_below_one_are_refused():
    with pytest.raises(ValueError, match="calls is 0, expected 1 or more"):
        count(lambda: None, calls=0)


def test_a_name_that_is_no_events_is_refused_with_those_that_are():
    with pytest.raises(KeyError, match="no event is called 'flops'; there are cycles"):
        count(lambda: None, kernel=MadeUpKernel())["flops"]


# --- this system's kernel


@pytest.fixture
def here():
    reason = counters.why_not_here()
    if reason:
        pytest.skip(reason)

    def touch():
        fresh = np.frombuffer(mmap.mmap(-1, 1 << 25), np.uint8)
        fresh[::4096] = 1

    return count(touch)


def test_every_event_has_a_value_or_a_reason(here):
    assert len(here.events) == len(EVENTS)
    for event in here.events:
        assert (event.value is None) == (event.reason is not None)


def test_page_faults_of_fresh_memory_are_counted(here):
    """32 MiB that nobody has touched: a fault for each page, of 4 KiB or of 2 MiB."""
    if here["page faults"].value is None:
        pytest.skip(here["page faults"].reason)
    assert here["page faults"].value >= 8
    assert count(lambda: None)["page faults"].value < here["page faults"].value


def test_hardware_counts_instructions_where_it_counts_at_all():
    few, many = (count(lambda n=n: sum(range(n)))["instructions"] for n in (1_000, 1_000_000))
    if few.value is None:
        pytest.skip(few.reason)
    assert many.value > 100 * few.value or many.value > 1_000_000


def test_only_what_happens_in_the_kernel_alone_is_asked_of_it(monkeypatch):
    """Without the kernel's share there would be no context switch, a zero that means nothing; with it, hardware events
    would need a permission that few have."""
    if counters.why_not_here():
        pytest.skip(counters.why_not_here())
    kernel, asked = counters.LinuxKernel(), {}

    def opened(attributes):
        asked[attributes.type, attributes.config] = attributes.flags
        return 0

    monkeypatch.setattr(counters, "perf_event_open", opened)
    for event in EVENTS:
        kernel.open(event)
    kernel_left_out = {event.name for event in EVENTS if asked[event.type, event.config] & (1 << 5)}
    assert kernel_left_out == {e.name for e in EVENTS} - {"context switches", "CPU migrations"}


def test_sleeping_is_a_context_switch():
    counted = count(lambda: time.sleep(0.002), calls=3)["context switches"]
    if counted.value is None:
        pytest.skip(counted.reason)
    assert counted.value >= 3


def test_descriptors_are_not_lost(here):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        count(lambda: None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_unknown_event_has_no_value_and_raises_nothing(here):
    nonsense = Event("nonsense", 3, 0xFFFF)
    assert count(lambda: None, events=[nonsense]).events[0].value is None


def test_an_implementation_is_counted_after_a_call_that_is_not():
    counted = count_implementation(ln.transpose["cpp.naive"], "square-64", calls=3)
    assert counted.calls == 3
    with pytest.raises(ValueError, match="no workload is called 'huge'; there are square-64"):
        count_implementation(ln.transpose["cpp.naive"], "huge")


def test_every_operation_has_a_default_workload():
    for operation in ln.OPERATIONS.values():
        assert default_workload(operation) in [w.name for w in operation.contract.workloads]


def run(*args):
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, args, prog_name="loopnest")


def test_the_command_prints_what_there_is_and_why_the_rest_is_not():
    result = run("inspect", "transpose", "cpp.naive", "--counters", "--workload", "square-64", "--calls", "2")
    assert result.exit_code == 0
    assert "counters of cpp.naive on square-64, a call's share of 2" in result.output
    for event in EVENTS:
        assert event.name in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("matmul", "cpp.nothing"), "cpp.nothing"),
        (("matmul", "cpp.naive", "--workload", "huge"), "no workload is called 'huge'"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, message):
    result = run("inspect", *arguments, "--counters")
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output
