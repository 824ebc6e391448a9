"""A user's file in a process of its own: stopped, asked, ended."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from loopnest.process import session
from loopnest.process.family import Family, between
from loopnest.process.session import EndedError, FailedInChildError, Session

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="it catches the same signals as a sanitizer")


def test_a_submissions_process_is_stopped_while_the_judge_writes_and_reads(tmp_path):
    host = Session(tmp_path / "mine.py", time.monotonic() + 20).live()
    try:
        assert host.ask({"do": "watch"}) == {}
        host.stop()
        assert Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        assert host.round_trip() < 1
        assert Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    finally:
        host.close()
    assert not Path(f"/proc/{host.pid}").exists()
    assert not host.folder.exists()


BURN = """
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""

LEAVE_TO_A_HELPER = f"""
import os, time
{BURN}
if not os.fork():
    os.setsid()
    burn(0.03)
    os._exit(0)
"""

WAKE_IN_A_WHILE = f"""
import ctypes, signal, time
{BURN}
signal.signal(signal.SIGCONT, lambda *_: burn(0.002))
libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
event = (ctypes.c_int * 16)(0, 0, signal.SIGCONT)  # struct sigevent
assert libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer)) == 0
libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 50_000_000, 0, 50_000_000), None)
"""


def test_the_processor_time_of_a_process_in_another_group_counts(tmp_path):
    with Session(tmp_path / "mine.py", time.monotonic() + 20) as child:
        before = child.family.times()
        child.run(exec, LEAVE_TO_A_HELPER, {})
        child.stop()
        assert len(child.family.others) == 1
        child.go_on()
        while between(before, child.family.times()) < 0.03:
            time.sleep(0.001)


def test_a_process_that_wakes_itself_is_ended(tmp_path):
    with Session(tmp_path / "mine.py", time.monotonic() + 20) as child:
        child.run(exec, WAKE_IN_A_WHILE, {})
        child.stop()
        time.sleep(0.3)
        with pytest.raises(EndedError, match="while it was stopped") as ended:
            child.run(divmod, 17, 5)
    assert ended.value.why == "awake"


def test_a_function_is_called_in_a_child_and_its_result_comes_back(tmp_path):
    with Session(tmp_path / "mine.py", time.monotonic() + 20, call=5) as child:
        assert child.run(divmod, 17, 5) == (3, 2)
        assert child.run(np.ones, (400, 400)).shape == (400, 400)
        with pytest.raises(FailedInChildError, match="by zero") as raised:
            child.run(divmod, 1, 0)
        assert raised.value.kind == "ZeroDivisionError"
        with pytest.raises(EndedError) as late:
            child.run(time.sleep, 30, limit=0.2)
        assert late.value.why == "sleeps"


def test_a_child_that_ends_in_a_function_says_how(tmp_path):
    with (
        Session(tmp_path / "mine.py", time.monotonic() + 20, call=5) as child,
        pytest.raises(EndedError, match="status 3") as ended,
    ):
        child.run(os._exit, 3)
    assert ended.value.why == "exited"


def test_waiting_for_a_processor_is_not_held_against_a_child(tmp_path, monkeypatch):
    waits = iter([0.0, *[0.5] * 1000])
    monkeypatch.setattr(Family, "queued", lambda self: next(waits))
    with Session(tmp_path / "mine.py", time.monotonic() + 20, call=5) as child:
        assert child.run(time.sleep, 0.4, limit=0.2) is None
        with pytest.raises(EndedError, match="no answer within"):
            child.run(time.sleep, 30, limit=0.2)


def test_the_deadline_moves_by_what_others_took_up_to_six_times_the_time(tmp_path, monkeypatch):
    waited = 0.0
    monkeypatch.setattr(session, "queued", lambda task: waited)
    child = Session(tmp_path / "mine.py", time.monotonic() + 20)
    assert 19 < child.left() <= 20
    waited = 50.0
    assert 69 < child.left() <= 70
    waited = 500.0
    assert 119 < child.left() <= 120
