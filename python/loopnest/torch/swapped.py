"""Swapped blocks: blocks of a model whose MLP runs as one operation.

A swapped block remains the same object, with its children, parameters, buffers and hooks, so state dicts, optimizers
and all references stay valid. Only its class changes, to a class derived from its own that overrides the one method
that runs the MLP (as torch.nn.utils.parametrize does).

    forward             nn.Sequential, which may hold several MLPs; modules such as GPT-2's and ViT's MLP
    _ff_block           nn.TransformerEncoderLayer and nn.TransformerDecoderLayer
    feed_forward_chunk  BERT's layer and its copies
    ff_chunk            DistilBERT's and ALBERT's

At each call the override checks that the modules it bypasses are still the same and have no more to do: no hooks, no
active dropout, no TorchFunctionMode, no tensor subclass with a meaning of its own. Otherwise the original method runs.
The check takes 4 to 10 µs.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch

from ..backends.torch import Tensor
from .checks import FLOATS, has_global_hooks, has_hooks, has_mode, has_own_meaning, runs_here
from .functional import mlp

Module = Any  # torch.nn.Module: torch is not typed for mypy here
Class = Any  # of modules
Path = tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The place of an MLP in its block, and what must be unchanged for it to run as one operation."""

    method: str  # the block's method that runs the MLP
    bypassed: tuple[tuple[Path, Class], ...]  # the modules that are not called, containers first, and their classes
    first: Path  # the two layers
    second: Path
    gelu: Path  # () if the block calls a function
    approximate: str  # GELU's form, "none" or "tanh"
    between: tuple[Path, ...]  # the dropouts between GELU and the second layer
    after: tuple[Path, ...]  # the dropouts after the second layer
    norm: Path  # the norm of the sum with the input, which ends BERT's block; () in others
    functions: tuple[tuple[Path, str, Any], ...]  # where functions are attributes: module, name and value


def at(module: Module, path: Path) -> Module:
    for name in path:
        module = getattr(module, name)
    return module


def is_conv1d(module: Module) -> bool:
    """Whether a module is transformers' Conv1D, a linear layer whose weight is (in, out)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def weight_of(layer: Module) -> Tensor:
    """A layer's weight as (out, in)."""
    return layer.weight.t() if is_conv1d(layer) else layer.weight


def _runs_original(plan: Plan, block: Module, x: Tensor) -> bool:
    """Whether the original method must run, since modules have changed or have more to do."""
    if x.is_nested or torch.is_autocast_enabled("cpu") or has_global_hooks() or has_mode():
        return True
    for path, expected in plan.bypassed:
        module = at(block, path)
        if type(module) is not expected or has_hooks(module):
            return True
        if path in plan.between and module.training and module.p > 0:
            return True
        if path == plan.gelu and expected is torch.nn.GELU and module.approximate != plan.approximate:
            return True
    if any(getattr(at(block, path), name, None) is not function for path, name, function in plan.functions):
        return True
    first, second = at(block, plan.first), at(block, plan.second)
    return has_own_meaning(x, first.weight, first.bias, second.weight, second.bias)


def result(plan: Plan, block: Module, x: Tensor) -> Tensor:
    """The block's result with its MLP as one operation."""
    first, second = at(block, plan.first), at(block, plan.second)
    if not runs_here(first.weight):
        raise (TypeError if first.weight.dtype not in FLOATS else ValueError)(
            f"replace_mlps: a swapped block now has weights of {first.weight.dtype} on {first.weight.device}, expected "
            f"torch.float32 or torch.float64 on the CPU; restore the originals with restore_mlps(model)"
        )
    y = mlp(x, weight_of(first), first.bias, weight_of(second), second.bias, plan.approximate)
    for path in plan.after:
        y = at(block, path)(y)
    return at(block, plan.norm)(y + x) if plan.norm else y


class Swapped:
    """The base of all swapped blocks; `_swapped_class` derives their classes."""

    original: Class
    loopnest_method: str  # the overridden one
    loopnest_plans: tuple[Plan, ...] = ()  # empty in new objects of the class, such as a slice of a Sequential

    def extra_repr(self) -> str:
        return ", ".join(filter(None, [super().extra_repr(), "swapped: loopnest.torch.replace_mlps"]))  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """For pickle and deepcopy: the class is made, not imported."""
        return _empty, (self.original, self.loopnest_method), self.__getstate__()


@functools.cache
def _swapped_class(original: Class, method: str) -> Class:
    """The class of a swapped block. It has the original's name, since some libraries look at names of classes.

    torch's fast path for encoder layers, in eval mode without gradients, is one operator for a whole layer, which reads
    the weights itself. The property closes it: torch checks it, and _ff_block runs; self_attn keeps its own fast path.
    Nested tensors, which nn.TransformerEncoder makes of padded batches, run the original _ff_block.
    """
    in_parts = original.forward is torch.nn.Sequential.forward
    names = {"__module__": original.__module__, "__qualname__": original.__qualname__}
    names |= {"original": original, "loopnest_method": method}
    names[method] = _sequential if in_parts else _override(getattr(original, method))
    if issubclass(original, torch.nn.TransformerEncoderLayer):
        names["activation_relu_or_gelu"] = property(lambda self: 0)
    return type(original.__name__, (Swapped, original), names)


def _override(method: Any) -> Any:
    @functools.wraps(method)  # transformers counts its parameters
    def run(self: Module, *args: Any, **kwargs: Any) -> Any:
        arguments = (*args, *kwargs.values())
        if self.loopnest_plans and len(arguments) == 1:
            (plan,), x = self.loopnest_plans, arguments[0]
            if not _runs_original(plan, self, x):
                return result(plan, self, x)
        return method(self, *args, **kwargs)

    return run


def _sequential(self: Module, input: Tensor) -> Tensor:
    """The forward of an nn.Sequential with one MLP or several."""
    names, i = list(self._modules), 0
    plans = {plan.first[0]: plan for plan in self.loopnest_plans}
    while i < len(names):
        plan = plans.get(names[i])
        run = [path[0] for path, _ in plan.bypassed] if plan else []
        if plan and names[i : i + len(run)] == run and not _runs_original(plan, self, input):
            input, i = result(plan, self, input), i + len(run)
        else:
            input, i = self._modules[names[i]](input), i + 1
    return input


def with_class(module: Module, cls: Class, **attributes: Any) -> Module:
    """A new object of this class with the same children and parameters."""
    copy = object.__new__(cls)
    copy.__dict__.update(module.__dict__, **attributes)
    return copy


def _empty(original: Class, method: str) -> Module:
    return object.__new__(_swapped_class(original, method))


def swap(block: Module, plans: tuple[Plan, ...]) -> None:
    block.__class__ = _swapped_class(block.__class__, plans[0].method)
    block.loopnest_plans = plans


def restore(block: Module) -> None:
    block.__dict__.pop("loopnest_plans", None)
    block.__class__ = block.original
