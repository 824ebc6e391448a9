"""What vector instructions gain: a Python loop, NumPy, Numba, C++ compiled with vectorization off, vectorized by the
compiler and by hand, and torch, for operations that differ in what stands in a vectorizer's way.

add has nothing in its way and is bound by loads and stores. dot and sum are chains of additions that the compiler may
not reorder. GELU has an exponential in it, which has to be written as arithmetic first. All rungs run the same
workloads: one that fits the caches shows the instructions, one that does not shows the memory.
"""

import pytest


@pytest.mark.ladder("add", "dot", "sum", "gelu")
def test_vectorization(measure, implementation, workload):
    measure(implementation, workload)
