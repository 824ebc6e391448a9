"""The ladders of GELU and of its gradient, in the tanh form and in the exact form."""

import pytest


@pytest.mark.parametrize("approximate", ["tanh", "none"])
@pytest.mark.ladder("gelu", "gelu_backward")
def test_gelu(measure, implementation, workload, approximate):
    form = {"tanh": "tanh form", "none": "exact form"}[approximate]
    study = f"{implementation.operation.name}, {form}"
    measure(implementation, workload, study=study, ladder=True, approximate=approximate)
