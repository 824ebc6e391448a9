"""The ladders of GELU and of its gradient, in the tanh form and in the exact form, and torch's own GELU."""

import loopnest as ln
import pytest
from loopnest.backends import TORCH
from loopnest.backends.rung import Implementation


def own_gelu(x, y, tanh_form):
    """torch.nn.functional.gelu, into memory that is there."""
    import torch

    torch.ops.aten.gelu.out(x, approximate="tanh" if tanh_form else "none", out=y)


F_GELU: Implementation = TORCH.rung(own_gelu, "F.gelu")
F_GELU.operation = ln.gelu

OUTSIDE = (
    "torch's own GELU is outside of the contract below x = -2: 1 + tanh(u) and 1 + erf(u) cancel there, and at x = -5 "
    "the result is wrong by 30 %"
)


@pytest.mark.parametrize("approximate", ["tanh", "none"])
@pytest.mark.ladder("gelu", "gelu_backward", also=[F_GELU])
def test_gelu(measure, implementation, workload, approximate):
    form = {"tanh": "tanh form", "none": "exact form"}[approximate]
    study = f"{implementation.operation.name}, {form}"
    outside = OUTSIDE if implementation is F_GELU else ""
    measure(implementation, workload, study=study, ladder=True, outside=outside, approximate=approximate)
