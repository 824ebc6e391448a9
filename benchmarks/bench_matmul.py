"""The matmul ladder: every rung, on the workloads that fit its time."""

import pytest


@pytest.mark.ladder("matmul")
def test_matmul(measure, implementation, workload):
    measure(implementation, workload, ladder=True)
