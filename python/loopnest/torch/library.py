"""How a kernel becomes an operator of torch.

An operator has a schema; a kernel, which passes the memory of its tensors to the fastest rung; a fake kernel, which
gives the compiler the shapes and strides of the results; an autograd.Function, the formula of its gradient; and, if it
has products, the number of their operations.

The kernel is registered for all devices, so that its own checks report a tensor on the wrong one. The autograd.Function
is written here: the one that torch.library.register_autograd makes takes 20 µs more per call.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from ..arrays import introduce
from ..backends.torch import Tensor
from ..operations import OPERATIONS

_reads_tensors = introduce(torch)  # whether the extension reads tensors where they lie

_library = torch.library.Library("loopnest", "DEF")


def operator(
    schema: str, *, fake: Callable[..., Any], flops: Callable[..., int] | None = None
) -> Callable[[Callable[..., Any]], Any]:
    """Declare an operator with the decorated function as its kernel.

    fake   makes results of its shapes and strides
    flops  (arguments, tensors as their shapes) -> what torch.utils.flop_counter counts, the operations of its products
    """

    def define(kernel: Callable[..., Any]) -> Any:
        name = schema.partition("(")[0]
        _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"loopnest::{name}", fake, lib=_library)
        packet = getattr(torch.ops.loopnest, name)
        if flops is not None:
            register_flop_formula(packet)(lambda *args, out_shape=None, **kwargs: flops(*args, **kwargs))
        return packet.default

    return define


def differentiate(operator: Any, function: Any = None) -> None:
    """Give an operator the gradients of an autograd.Function, whose forward calls `without_graph`.

    `function` may also be a function that computes the operator's result by another operator with gradients. Without
    one the operator, itself a gradient, has none, and refuses a call that asks for one.
    """
    apply = function
    if isinstance(function, type):
        # The dispatcher is already at one level of torch.func's transforms, so this is the apply of a single one.
        apply = super(torch.autograd.Function, function).apply

    def autograd(*args: Any) -> Any:
        transformed = torch._C._are_functorch_transforms_active()
        if transformed or forward_ad._current_level >= 0:
            _check_transforms(operator, args)
        wanted = any(isinstance(arg, torch.Tensor) and arg.requires_grad for arg in args)
        if torch.is_grad_enabled() and wanted:
            if apply is None:
                raise NotImplementedError(f"{operator.name()} has no gradient: call it under torch.no_grad()")
            if not transformed:
                return apply(*args)
            with enable_single_level_autograd_function():
                return apply(*args)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*args)

    _library.impl(operator.name().partition("::")[2], autograd, "Autograd")


def _check_transforms(operator: Any, args: tuple[Any, ...]) -> None:
    """Refuse forward mode: tangents would be lost."""
    levels = [level.key() for level in torch._C._functorch.get_interpreter_stack() or ()]
    tangents = forward_ad._current_level >= 0 and any(
        isinstance(arg, torch.Tensor) and forward_ad.unpack_dual(arg).tangent is not None for arg in args
    )
    kinds = torch._C._functorch.TransformType
    if tangents or kinds.Jvp in levels:
        raise NotImplementedError(
            f"{operator.name()} has reverse-mode gradients only, expected no forward mode (jvp, jacfwd, hessian): use "
            f"torch.func.jacrev, twice for a Hessian, or torch's own layers"
        )


def without_graph(operator: Any, *inputs: Any) -> Any:
    """Call an operator in an autograd.Function's forward, which records the graph itself.

    autograd switches gradients off for a forward. Under torch.func the operator goes on to the next level out, which
    may record a graph of its own, so they are on here.
    """
    with torch.enable_grad(), torch._C._AutoDispatchBelowAutograd():
        return operator(*inputs)


@functools.cache
def kernel_of(operation: str) -> Callable[..., Any]:
    """The kernel of the fastest rung in C++, which runs everywhere."""
    kernel: Callable[..., Any] = OPERATIONS[operation]["cpp"].kernel
    return kernel if _reads_tensors else functools.partial(_call_with_arrays, kernel)


def _call_with_arrays(kernel: Callable[..., Any], *args: Any) -> None:
    """Call a kernel with arrays over the tensors' memory, for versions of torch without DLPack's C interface."""
    kernel(*(arg.detach().numpy() if isinstance(arg, torch.Tensor) else arg for arg in args))


def rows(x: Tensor) -> Tensor:
    """x as a matrix whose rows are its last axis: a view if the leading axes can be joined, else a copy."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # -1 is ambiguous in empty tensors
