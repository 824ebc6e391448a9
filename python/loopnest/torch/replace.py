"""The MLPs of a model, found and swapped for loopnest's kernels, and put back.

    print(loopnest.torch.replace_mlps(model))

recognise.py finds them, probe.py holds each to what it computed before, swapped.py has what they become.
"""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import torch

from . import probe, recognise, swapped
from .checks import FLOATS
from .recognise import Found
from .swapped import Module


@dataclass(frozen=True)
class Block:
    """An MLP in a model, or what looks like one, and what became of it.

    path         the module that holds it, as in model.get_submodule(path); of an nn.Sequential's children the part that
                 is the MLP, as net[0:3]
    kind         the module's class
    d, h         features of its input and of its hidden layer; 0 where they cannot be read
    approximate  GELU's form, "none" or "tanh"; "" where it is not GELU or not known
    swapped      whether loopnest computes it now
    why          the reason where not; else what is worth knowing, or ""
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
    """What `replace_mlps` found in a model; its str() is a table for people, `undo()` puts the originals back."""

    blocks: tuple[Block, ...]
    model: Any = field(repr=False, compare=False)

    @property
    def swapped(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.swapped)

    def undo(self) -> None:
        """Put the originals back, as `restore_mlps(model)` does."""
        restore_mlps(self.model)

    def __str__(self) -> str:
        if not self.blocks:
            return NOTHING
        return _table(self.blocks)


NOTHING = """no MLPs found: nothing was swapped. What is looked for is Linear, GELU, Linear, with dropouts:
in an nn.Sequential, in nn.TransformerEncoderLayer, in the layers of BERT and GPT-2 and in modules built as ViT's MLP.
Gated MLPs, as Llama's with three layers, are another function."""


def replace_mlps(model: Module, *, fallback: bool = False) -> Replaced:
    """Find the MLPs of a model, Linear, GELU, Linear, and let loopnest's kernels compute them, in place.

    model     a torch.nn.Module, in any mode
    fallback  whether blocks of other dtypes and devices are swapped too, and run by torch's own kernels

    It finds them in nn.Sequential, nn.TransformerEncoderLayer, BERT's and GPT-2's layers with all their copies, and
    modules built as ViT's MLP: by tracing what they compute, not by their names. Each is held to the original on random
    input before the model gets it. A block keeps its children and parameters, so that optimizers, state dicts, hooks on
    the block, train() and eval(), deepcopy and pickle go on as before. Where a swapped block has more to do than the
    kernels can (dropout between GELU and the second layer in training, hooks on its layers, autocast), its original
    forward runs.

    Returns a `Replaced`: what was swapped, and what not and why. `restore_mlps(model)` puts the originals back. A
    second call begins with that, and looks at all blocks anew.
    Raises TypeError where model is no module.

    >>> import torch, loopnest.torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 16))
    >>> replaced = loopnest.torch.replace_mlps(model)
    >>> [(block.kind, block.d, block.h, block.swapped) for block in replaced.blocks]
    [('Sequential', 16, 64, True)]
    >>> replaced.undo()
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"replace_mlps: model is a {type(model).__name__}, expected a torch.nn.Module")
    restore_mlps(model)  # what an earlier call has swapped is looked at anew
    blocks = []
    owners = _owners(model)
    plans: dict[Module, list[Any]] = defaultdict(list)  # an nn.Sequential may hold several
    hows: dict[Module, Any] = {}
    for found in recognise.blocks_of(model):
        why = found.why or _why_not(found, owners, fallback)
        if found.plan is not None and not why:
            plan = replace(found.plan, fallback=fallback)
            why = probe.why_unlike(found, plan)
            if not why:
                plans[found.block].append(plan)
                hows[found.block] = found.how
        blocks.append(_block_of(found, why))
    for module, its_plans in plans.items():
        swapped.swap(module, hows[module], tuple(its_plans))
    return Replaced(tuple(blocks), model)


def restore_mlps(model: Module) -> tuple[str, ...]:
    """Put the originals back in the place of all swapped blocks; returns the paths of their modules.

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
        between = [swapped.at(found.block, found.plan.left_out[i]).p for i in found.plan.between]
        if any(p > 0 for p in between):
            note = f"in training its own forward runs, for its dropout of {max(between):g} after GELU"
    return Block(
        path=found.path,
        kind=type(found.block).__name__,
        d=found.d,
        h=found.h,
        approximate=found.approximate,
        swapped=not why,
        why=note,
    )


def _owners(model: Module) -> dict[int, list[str]]:
    """The modules that have each parameter as their own, by the parameter's id."""
    owners: dict[int, list[str]] = defaultdict(list)
    for path, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)].append(path)
    return owners


def _why_not(found: Found, owners: dict[int, list[str]], fallback: bool) -> str:
    """The reason that lies in a block's parameters, or nothing."""
    assert found.plan is not None
    for position in (found.plan.first, found.plan.second):
        path = found.plan.left_out[position]
        layer = swapped.at(found.block, path)
        for name in ("weight", "bias"):
            tensor = getattr(layer, name)
            if tensor is None:
                continue
            where = f"{'.'.join(path)}.{name}"
            if len(owners[id(tensor)]) > 1:
                return f"{where} is tied: it belongs to {' and '.join(owners[id(tensor)][:2])}"
            if tensor.device.type == "meta":
                return f"{where} is on the meta device, without values to compare"
            if not fallback and tensor.dtype not in FLOATS:
                dtype = str(tensor.dtype).removeprefix("torch.")
                return f"{where} has dtype {dtype}, not float32 or float64; fallback=True leaves it to torch"
            if not fallback and tensor.device.type != "cpu":
                return f"{where} is on {tensor.device}, not the CPU; fallback=True leaves it to torch"
    return ""


# --- the table


def _table(blocks: tuple[Block, ...], width: int = 80) -> str:
    rows = _alike(blocks)
    header = ("swapped", "class", "d x h", "GELU", "module")
    cells = [
        (
            "yes" if block.swapped else "no",
            block.kind,
            f"{block.d} x {block.h}" if block.d else "",
            {"none": "exact"}.get(block.approximate, block.approximate),
        )
        for _, block in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=False)]
    lines = [f"{sum(block.swapped for block in blocks)} of {len(blocks)} MLPs swapped", ""]
    for (names, why), cell in zip(
        [(header[-1], ""), *((names, block.why) for names, block in rows)], [header[:-1], *cells], strict=True
    ):
        line = "".join(text.ljust(size + 2) for text, size in zip(cell, widths, strict=True))
        room = max(width - len(line), 12)
        lines += [line + names[:room], *(" " * len(line) + names[i : i + room] for i in range(room, len(names), room))]
        indent = " " * (widths[0] + 4)
        lines += textwrap.wrap(why, width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def _alike(blocks: tuple[Block, ...]) -> list[tuple[str, Block]]:
    """The rows: blocks that differ in one number of their path alone, as the layers of a model do, share one."""
    rows = []
    for _, same in groupby(blocks, lambda block: (re.sub(r"\d+", "#", block.path), replace(block, path=""))):
        group = list(same)
        numbers = [re.findall(r"\d+", block.path) for block in group]
        differ = [i for i, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
        if len(group) > 1 and len(differ) == 1:
            parts = re.split(r"(\d+)", group[0].path)
            parts[2 * differ[0] + 1] = f"{{{numbers[0][differ[0]]}…{numbers[-1][differ[0]]}}}"
            rows.append(("".join(parts), group[0]))
        else:
            rows += [(block.path or "the model itself", block) for block in group]
    return rows
