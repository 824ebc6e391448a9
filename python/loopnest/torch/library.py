"""How a kernel becomes an operator of torch's.

An operator is four things: a schema; a kernel, which hands the memory of its tensors to the fastest rung; a fake
kernel, which tells the compiler the shapes and strides of the results; and an autograd.Function, the formula of its
gradient.

The kernel stands for all devices, so that its checks, and no table of the dispatcher's, say what is wrong with a tensor
on another one. The autograd.Function is ours, since that which torch.library.register_autograd makes takes 20 µs more
for each call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from .. import OPERATIONS
from ..arrays import introduce
from ..tensors import Tensor

introduce(torch)  # the extension reads tensors where they lie

_library = torch.library.Library("loopnest", "DEF")


def operator(schema: str, *, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Declare an operator: `fake` makes results of the right shapes and strides, the decorated function fills them."""

    def define(kernel: Callable[..., Any]) -> Any:
        name = schema.partition("(")[0]
        _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"loopnest::{name}", fake, lib=_library)
        return getattr(torch.ops.loopnest, name).default

    return define


def differentiate(operator: Any, function: Any) -> None:
    """Let the gradients of an operator be those of an autograd.Function, whose forward calls it `below_autograd`."""

    def autograd(*args: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(arg, torch.Tensor) and arg.requires_grad for arg in args):
            return function.apply(*args)
        with below_autograd():
            return operator(*args)

    _library.impl(operator.name().partition("::")[2], autograd, "Autograd")


below_autograd = torch._C._AutoDispatchBelowAutograd
"""A context in which operators are called without a graph being recorded."""


@functools.cache
def kernel_of(operation: str) -> Callable[..., Any]:
    """The kernel of the fastest rung in C++, which runs wherever the package does."""
    kernel: Callable[..., Any] = OPERATIONS[operation]["cpp"].kernel
    return kernel


def rows(x: Tensor) -> Tensor:
    """x as a matrix whose rows are its last axis: a view where its leading axes can be joined, else a copy."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
