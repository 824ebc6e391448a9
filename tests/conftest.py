"""What holds for every test."""

import numpy as np
import pytest
from loopnest import arrays


@pytest.fixture(autouse=True)
def results_poisoned(monkeypatch):
    """New results hold NaN before a kernel runs, so that a kernel that leaves elements unwritten cannot pass."""
    monkeypatch.setattr(arrays, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
