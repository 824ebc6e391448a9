"""Damaged files, of every kind that is read: fuzz.py for a few seconds."""

import pytest
from fuzz import fuzz
from loopnest.report import why_not_here


@pytest.mark.skipif(why_not_here() is not None, reason=str(why_not_here()))
@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.slow)])
def test_no_damaged_file_ends_in_a_traceback(count):
    files, faults = fuzz(count)
    assert files == count
    assert not faults, "\n".join(text for _, _, text in faults.values())
