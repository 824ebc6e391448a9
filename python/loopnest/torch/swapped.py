"""Swapped blocks: blocks of a model whose MLP runs as one operation.

A swapped block remains the same object, with its children, parameters, buffers and hooks, so state dicts, optimizers
and all references stay valid. Only its class changes, to a class derived from its own that overrides the one method
that runs the MLP (as torch.nn.utils.parametrize does).

    forward             nn.Sequential, modules such as GPT-2's and ViT's MLP
    _ff_block           nn.TransformerEncoderLayer and nn.TransformerDecoderLayer
    feed_forward_chunk  BERT's layer and its copies
    ff_chunk            DistilBERT's and ALBERT's

At each call the override checks that the modules it bypasses are still the same and have no more to do: no hooks, no
active dropout. Otherwise the original method runs. The check takes 3 to 8 µs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..backends.torch import Tensor
from .checks import FLOATS, has_hooks, runs_here
from .functional import mlp

Module = Any  # torch.nn.Module: torch is not typed for mypy here
Class = Any  # of modules
Path = tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The place of an MLP in its block. Positions are indices into `bypassed`."""

    bypassed: tuple[Path, ...]  # the modules that are not called, in the order of their calls, containers first
    classes: tuple[Class, ...]  # their classes
    first: int  # the positions of the two layers
    second: int
    transposed: tuple[bool, bool]  # whether each layer's weight is (in, out), as in transformers' Conv1D
    gelu: int | None  # the position of GELU; None if the block calls a function
    approximate: str  # GELU's form, "none" or "tanh"
    between: tuple[int, ...] = ()  # the positions of dropouts between GELU and the second layer
    start: int = 0  # in an nn.Sequential, the index of the first layer
    after: tuple[Path, ...] = ()  # the dropouts after the second layer
    norm: Path = ()  # the norm of the sum with the input, which ends BERT's block; () in others
    functions: tuple[tuple[Path, str, Any], ...] = ()  # where functions are attributes: module, name and value


def at(module: Module, path: Path) -> Module:
    for name in path:
        module = getattr(module, name)
    return module


def _may_run(plan: Plan, modules: Sequence[Module], x: Tensor) -> bool:
    """Whether the MLP may run as one operation now: its modules are the same, and have no more to do."""
    if len(modules) != len(plan.classes) or x.is_nested or torch.is_autocast_enabled("cpu"):
        return False
    for module, expected in zip(modules, plan.classes, strict=True):
        if type(module) is not expected or has_hooks(module):
            return False
    if any(modules[position].training and modules[position].p > 0 for position in plan.between):
        return False
    if plan.gelu is not None and plan.classes[plan.gelu] is torch.nn.GELU:
        return bool(modules[plan.gelu].approximate == plan.approximate)
    return True


def _mlp(plan: Plan, modules: Sequence[Module], x: Tensor) -> Tensor:
    first, second = modules[plan.first], modules[plan.second]
    weight1 = first.weight.t() if plan.transposed[0] else first.weight
    weight2 = second.weight.t() if plan.transposed[1] else second.weight
    if not runs_here(weight1):
        raise (TypeError if weight1.dtype not in FLOATS else ValueError)(
            f"replace_mlps: a swapped block now has weights of {weight1.dtype} on {weight1.device}, expected "
            f"torch.float32 or torch.float64 on the CPU; restore the originals with restore_mlps(model)"
        )
    return mlp(x, weight1, first.bias, weight2, second.bias, plan.approximate)


def _block(plan: Plan, block: Module, x: Tensor) -> Tensor | None:
    """The block's result; None if the original method must run."""
    modules = [at(block, path) for path in plan.bypassed]
    if not _may_run(plan, modules, x):
        return None
    if any(getattr(at(block, path), name, None) is not function for path, name, function in plan.functions):
        return None
    y = _mlp(plan, modules, x)
    for path in plan.after:
        y = at(block, path)(y)
    return at(block, plan.norm)(y + x) if plan.norm else y


class Swapped:
    """The base of all swapped blocks; `swapped_class` derives their classes from one of the classes below."""

    method: str
    original: Class
    loopnest_plans: tuple[Plan, ...] = ()  # empty in new objects of the class, such as a slice of a Sequential

    def _run(self, x: Tensor) -> Any:
        """The result of the overridden method for x."""
        y = _block(self.loopnest_plans[0], self, x) if self.loopnest_plans else None
        return getattr(self.original, self.method)(self, x) if y is None else y

    def extra_repr(self) -> str:
        return ", ".join(filter(None, [super().extra_repr(), "swapped: loopnest.torch.replace_mlps"]))  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """For pickle and deepcopy: the class is made, not imported."""
        return _empty, (self.original, type(self).__mro__[1]), self.__getstate__()


class SwappedModule(Swapped):
    method = "forward"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        arguments = (*args, *kwargs.values())
        return self._run(arguments[0]) if len(arguments) == 1 else self.original.forward(self, *args, **kwargs)


class SwappedSequential(Swapped):
    method = "forward"

    def forward(self, input: Tensor) -> Tensor:
        children = list(self._modules.values())  # type: ignore[attr-defined]
        done = 0
        for plan in self.loopnest_plans:
            input = _in_turn(children[done : plan.start], input)
            done = plan.start + len(plan.classes)
            run = children[plan.start : done]
            input = _mlp(plan, run, input) if _may_run(plan, run, input) else _in_turn(run, input)
        return _in_turn(children[done:], input)


def _in_turn(modules: Iterable[Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


class SwappedChunk(Swapped):
    method = "feed_forward_chunk"

    def feed_forward_chunk(self, attention_output: Tensor) -> Any:  # transformers counts the parameters
        return self._run(attention_output)


class SwappedShortChunk(Swapped):
    method = "ff_chunk"

    def ff_chunk(self, input: Tensor) -> Any:
        return self._run(input)


class SwappedFeedForward(Swapped):
    method = "_ff_block"

    def _ff_block(self, x: Tensor) -> Any:
        return self._run(x)


class SwappedEncoderLayer(SwappedFeedForward):
    """torch's fast path for eval mode without gradients is one operator for a whole layer, which reads the weights
    itself. The property closes it: torch checks it, and _ff_block runs; self_attn keeps its own fast path. Nested
    tensors, which nn.TransformerEncoder makes of padded batches, run the original _ff_block.
    """

    activation_relu_or_gelu = property(lambda self: 0)


def with_class(module: Module, cls: Class, **attributes: Any) -> Module:
    """A new object of this class with the same children and parameters."""
    copy = object.__new__(cls)
    copy.__dict__.update(module.__dict__, **attributes)
    return copy


@functools.cache
def swapped_class(original: Class, how: Class) -> Class:
    """The class of a swapped block. It has the original's name, since some libraries look at names of classes."""
    names = {"__module__": original.__module__, "__qualname__": original.__qualname__, "original": original}
    return type(original.__name__, (how, original), names)


def _empty(original: Class, how: Class) -> Module:
    return object.__new__(swapped_class(original, how))


def swap(block: Module, how: Class, plans: tuple[Plan, ...]) -> None:
    block.__class__ = swapped_class(block.__class__, how)
    block.loopnest_plans = plans


def restore(block: Module) -> None:
    block.__dict__.pop("loopnest_plans", None)
    block.__class__ = block.original
