"""Replacing the MLPs of a model by loopnest's kernels, and restoring them.

    print(loopnest.torch.replace_mlps(model))

recognise.py finds the MLPs, probe.py compares each with the original, swapped.py has the classes of swapped blocks.
"""

import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import groupby

import torch

from . import probe, recognise, swapped
from .recognise import Found
from .swapped import Module, Plan


@dataclass(frozen=True)
class Block:
    """An MLP in a model, or a block that looks like one.

    path         of the module, as in model.get_submodule(path); in a longer nn.Sequential with its place, as net[0:3]
    kind         the module's class
    d, h         features of the input and of the hidden layer; 0 if they cannot be read
    approximate  GELU's form, "none" or "tanh"; "" for another activation
    swapped      whether loopnest computes it now
    why          the reason if not; else a note, or ""
    """

    path: str
    kind: str
    d: int
    h: int
    approximate: str
    swapped: bool
    why: str


@dataclass(frozen=True)
class Replaced:
    """The blocks that `replace_mlps` found. str() is a table."""

    blocks: tuple[Block, ...]

    @property
    def swapped(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.swapped)

    def __str__(self) -> str:
        return _table(self.blocks) if self.blocks else NOTHING


NOTHING = """no MLPs found: nothing was swapped. An MLP is Linear, GELU, Linear, with dropouts: in an nn.Sequential, in
nn.TransformerEncoderLayer, in the layers of BERT and GPT-2, and in modules built like ViT's MLP.
Gated MLPs with three layers, such as Llama's, are another function."""


def replace_mlps(model: Module) -> Replaced:
    """Find the MLPs of a model, Linear, GELU, Linear, and let loopnest's kernels compute them, in place.

    model  a torch.nn.Module, in any mode

    Finds MLPs in nn.Sequential, nn.TransformerEncoderLayer, BERT's and GPT-2's layers and their copies, and modules
    built like ViT's MLP, by tracing what they compute. Each swapped block is compared with the original on random input
    before the model gets it. A block keeps its children and parameters, so optimizers, state dicts, hooks on the block,
    train() and eval(), deepcopy and pickle work as before. The original forward runs where the kernels cannot do all of
    its work: dropout between GELU and the second layer in training, hooks on its layers, autocast.

    Returns a `Replaced`: the blocks, which of them are swapped, and why others are not. `restore_mlps(model)` restores
    the originals; a second call of `replace_mlps` begins with it.
    Raises TypeError if model is no module.

    >>> import torch, loopnest.torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 16))
    >>> replaced = loopnest.torch.replace_mlps(model)
    >>> [(block.kind, block.d, block.h, block.swapped) for block in replaced.blocks]
    [('Sequential', 16, 64, True)]
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"replace_mlps: model is a {type(model).__name__}, expected a torch.nn.Module")
    restore_mlps(model)
    blocks = []
    plans: dict[Module, list[Plan]] = defaultdict(list)  # an nn.Sequential may hold several
    for found in recognise.blocks_of(model):
        why = found.why or probe.why_unlike(found)
        if found.plan is not None and not why:
            plans[found.block].append(found.plan)
        blocks.append(_block_of(found, why))
    for module, of_module in plans.items():
        swapped.swap(module, tuple(of_module))
    return Replaced(tuple(blocks))


def restore_mlps(model: Module) -> tuple[str, ...]:
    """Restore the originals of all swapped blocks; return the paths of their modules.

    >>> import torch, loopnest.torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 16))
    >>> _ = loopnest.torch.replace_mlps(model)
    >>> loopnest.torch.restore_mlps(model)
    ('',)
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"restore_mlps: model is a {type(model).__name__}, expected a torch.nn.Module")
    paths = []
    for path, module in model.named_modules():
        if isinstance(module, swapped.Swapped):
            swapped.restore(module)
            paths.append(path)
    return tuple(paths)


def _block_of(found: Found, why: str) -> Block:
    note = why
    if not why and found.plan is not None:
        between = [swapped.at(found.block, path).p for path in found.plan.between]
        if any(p > 0 for p in between):
            note = f"in training its own forward runs, for its dropout of {max(between):g} after GELU"
    form = found.plan.approximate if found.plan else ""
    return Block(found.path, type(found.block).__name__, found.d, found.h, form, not why, note)


# --- the table


def _table(blocks: tuple[Block, ...]) -> str:
    """The blocks as lines; the reason of a block follows its line. Layers that are alike share a line."""
    rows = [("swapped", "class", "d x h", "GELU", "module", "")]
    for _, alike in groupby(blocks, lambda block: (re.sub(r"\d+", "#", block.path), replace(block, path=""))):
        same = list(alike)
        block, last = same[0], same[-1]
        path = block.path or "the model itself"
        path = f"{path} … {last.path}" if len(same) > 1 else path
        size = f"{block.d} x {block.h}" if block.d else ""
        form = "exact" if block.approximate == "none" else block.approximate
        rows.append(("yes" if block.swapped else "no", block.kind, size, form, path, block.why))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{sum(block.swapped for block in blocks)} of {len(blocks)} MLPs swapped", ""]
    for *cells, path, why in rows:
        lines.append("".join(f"{cell:{width}}  " for cell, width in zip(cells, widths, strict=True)) + path)
        indent = " " * (widths[0] + 4)
        lines += textwrap.wrap(why, 80, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)
