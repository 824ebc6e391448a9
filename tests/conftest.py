"""What holds for every test."""

import os
import signal

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from devices import why_no_true_device
from loopnest import _core, arrays
from loopnest.verify import poison_of

# torch's threads sleep between loops instead of spinning: its rungs take a third of the time if cores are busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell that starts `pytest &` has SIGINT ignored, and so would each child have that a test ends by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    if item.get_closest_marker("device") and (reason := why_no_true_device()):
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """Sessions that a test starts are none of pytest-xdist's workers, in which nothing is benchmarked."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_progress(monkeypatch, tmp_path):
    """A learner's progress that tests make is not the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(autouse=True, scope="module")
def own_threads():
    """Kernels run on threads of our own, also where another module's tests have imported loopnest.torch before."""
    _core.use_openmp()


@pytest.fixture(autouse=True)
def results_poisoned():
    """New results hold NaN before a kernel runs, so that a kernel that leaves elements unwritten cannot pass."""
    with arrays.results_from(lambda shape, dtype: np.full(shape, poison_of(dtype), dtype)):
        yield


@pytest.fixture(scope="module")
def browser():
    """A headless browser for the tests of a file; without one they are skipped."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with Browser() as browser:
        yield browser
