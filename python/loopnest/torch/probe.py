"""Does a swapped block compute the same as the original? The check before a model gets it.

Both run on a small random input, in copies of the block that share its parameters, in eval mode and without hooks. The
model itself is not called, so its mode, buffers, gradients and torch's random numbers do not change. A float32 block is
compared in float64 too, on copies of its weights: there rounding cannot hide a difference.

The bound is the operation's (operations/mlp/contract.py). With γ_k = k·u / (1 - k·u), for each of the two results:

    |z - exact| <= e_z = γ_{d+1} (|x| |w1| + |b1|)         the first layer, a sum of d + 1 terms
    |h - exact| <= e_h = 1.13 e_z + 8 u |z|                 |gelu'| < 1.13, and gelu's own rounding
    |y - exact| <= γ_{h+1} ((|h| + e_h) |w2| + |b2|) + e_h |w2|

A difference of more than twice the bound does not come from rounding (Higham, Accuracy and Stability, §3.5). BERT's
block ends with LayerNorm of y + x; the sums before LayerNorm are compared.
"""

from typing import Any

import numpy as np
import torch

from ..backends.torch import Tensor
from ..numerics import gamma, unit_roundoff
from . import swapped
from .recognise import Found, twin
from .swapped import Module, Plan

ROUNDED_CONSTANT = 1e-11
"""Some libraries write √(2/π) with ten digits, so their GELU is off by this share of |z|: more than float64's rounding.
It counts as a difference in a float64 model, but not in a float32 one."""


def why_unlike(found: Found) -> str:
    """Why the swapped block differs from the original; empty if it does not."""
    assert found.plan is not None
    dtype = swapped.at(found.part, found.plan.first).weight.dtype
    with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.random.fork_rng(devices=[]):
        for precision in dict.fromkeys((dtype, torch.float64)):
            try:
                why = _compare(found.part, found.plan, found.d, precision, dtype)
            except Exception as error:
                why = f"it cannot run on a tensor (2, 3, {found.d}): {type(error).__name__}: {error}"
            if why:
                return why
    return ""


def _compare(block: Module, plan: Plan, d: int, precision: Any, dtype: Any) -> str:
    original = twin(block, dtype=precision if precision is not dtype else None)
    if plan.norm:
        swapped.at(original, plan.norm[:-1])._modules[plan.norm[-1]] = torch.nn.Identity()
    x = torch.randn(2, 3, d, dtype=precision, device="cpu", generator=torch.Generator().manual_seed(0))
    before = getattr(original, plan.method)(x)
    after = swapped.result(plan, original, x)
    if not isinstance(before, torch.Tensor) or before.shape != after.shape or before.dtype != after.dtype:
        return f"the block returns {_described(before)}, the swapped one {_described(after)}"
    difference, allowed = (after - before).abs(), _bound(original, plan, x, dtype)
    wrong = ~(difference <= allowed)  # NaN is wrong too
    if not wrong.any():
        return ""
    worst = torch.where(wrong, difference / allowed, 0).nan_to_num(nan=torch.inf).argmax()
    return (
        f"its result on random input is not the original's: {after.flatten()[worst]:.9g}, not "
        f"{before.flatten()[worst]:.9g}, where rounding explains {allowed.flatten()[worst]:.2g}"
    )


def _described(value: Any) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _bound(block: Module, plan: Plan, x: Tensor, dtype: Any) -> Tensor:
    """The allowed difference of two correct results."""
    layers = swapped.at(block, plan.first), swapped.at(block, plan.second)
    w1, w2 = (swapped.weight_of(layer).t() for layer in layers)
    b1, b2 = (layer.weight.new_zeros(()) if layer.bias is None else layer.bias for layer in layers)
    numpy_dtype = np.dtype(str(x.dtype).removeprefix("torch."))
    u = unit_roundoff(numpy_dtype)
    d, h = w1.shape
    e_z = gamma(d + 1, numpy_dtype) * (x.abs() @ w1.abs() + b1.abs())
    z = x @ w1 + b1
    e_h = 1.13 * e_z + (8 * u + (ROUNDED_CONSTANT if dtype is torch.float32 else 0)) * z.abs()
    hidden = torch.nn.functional.gelu(z, approximate=plan.approximate).abs()
    e_y = gamma(h + 1, numpy_dtype) * ((hidden + e_h) @ w2.abs() + b2.abs()) + e_h @ w2.abs()
    added = u * (hidden @ w2.abs() + b2.abs() + x.abs()) if plan.norm else 0.0
    return 2 * (e_y + added)
