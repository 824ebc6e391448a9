"""What the tests of CUDA C++ share: its rungs, simulated; what is built is kept for this run of the tests alone."""

import sys

import pytest

collect_ignore_glob = [] if sys.platform == "linux" else ["*"]  # the simulation looks for shared memory as Linux has it


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    mine = tmp_path_factory.getbasetemp()  # of one of xdist's workers: the folder around it is all workers'
    folder = (mine.parent if mine.name.startswith("popen-gw") else mine) / "cuda-cache"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture
def simulated(monkeypatch):
    """Inside, CUDA C++ runs on the CPU."""
    monkeypatch.setenv("LOOPNEST_CUDA_CPP", "simulated")
