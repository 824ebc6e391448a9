"""The ladders of the transformer's MLP, forward and backward, up to GPT-2 small's (768 -> 3072 -> 768)."""

import pytest


@pytest.mark.ladder("mlp_forward", "mlp_backward")
def test_mlp(measure, implementation, workload):
    measure(implementation, workload, ladder=True)
