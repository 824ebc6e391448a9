"""A user's file in a process of its own: stopped, asked, ended."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from loopnest.process.session import EndedError, FailedInChildError, Session

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="it catches the same signals as a sanitizer")


def test_a_submissions_process_is_stopped_while_the_judge_writes_and_reads(tmp_path):
    session = Session(tmp_path / "mine.py", time.monotonic() + 20).live()
    try:
        assert session.ask({"do": "watch"}) == {}
        session.stop()
        assert Path(f"/proc/{session.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        assert session.round_trip() < 1
        assert Path(f"/proc/{session.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    finally:
        session.close()
    assert not Path(f"/proc/{session.pid}").exists()
    assert not session.folder.exists()


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
