"""A dot product measures similarity: words with the same neighbours have vectors with the same direction.

A word's vector has an element for every other word: how much more often the two stand near each other than by chance,
PMI(a, b) = log p(a, b) / (p(a) p(b)), and 0 if less often (PPMI). The dot product x·y = |x| |y| cos θ is large if both
words have the same neighbours. Divided by the lengths it is the cosine; the words with the largest cosines are a word's
neighbours in meaning.

The text is this package's own: lessons, docstrings and comments. As a control, the words of the same text are shuffled:
the similarities disappear.

Levy and Goldberg, Neural Word Embedding as Implicit Matrix Factorization (2014); Church and Hanks (1990) for PMI.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...arrays import Array
from ...backends.cpp import csrc
from ...operations.linalg import dot
from .experiment import Experiment, Rows

WINDOW = 4
"""Words to the left and to the right that count as near."""
RARE = 8
"""Words with fewer occurrences have no vector: too little is known of them."""
SMOOTHING = 0.75
"""The power of a neighbour's frequency: it keeps rare neighbours from counting too much (Levy et al. 2015, §3.2)."""

STOP = frozenset(
    """
    the and that for are with not one which from its this has have where than what but they their them each all there
    can does then into was only also must how when who whose would could other others any some more most such these
    those here out over own per may after before itself
    """.split()  # noqa: SIM905
)

GROUPS = (
    ("row", "rows", "column", "columns"),
    ("memory", "cache", "caches", "lines"),
    ("softmax", "logits", "entropy", "loss"),
    ("thread", "threads", "cores", "processors"),
)
"""Words of four subjects, which are compared."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """vectors: (n, n) the PPMI of `words`; cosines: of the words `shown`; shuffled: the same for the shuffled text"""

    words: tuple[str, ...]
    vectors: Array
    shown: tuple[str, ...]
    cosines: Array
    shuffled: Array

    def neighbours(self, word: str, count: int = 5) -> list[tuple[str, float]]:
        """The words with the largest cosines to this word."""
        x = self.vectors[self.words.index(word)]
        found = [(other, cosine(x, y)) for other, y in zip(self.words, self.vectors, strict=True) if other != word]
        return sorted(found, key=lambda pair: -pair[1])[:count]

    def within_and_between(self, cosines: Array) -> tuple[float, float]:
        """The mean cosine of two words of one group, and of two words of different groups."""
        group = {word: number for number, words in enumerate(GROUPS) for word in words}
        same = np.array([[group[a] == group[b] for b in self.shown] for a in self.shown])
        itself = np.eye(len(self.shown), dtype=bool)
        return float(cosines[same & ~itself].mean()), float(cosines[~same].mean())


def cosine(x: Array, y: Array) -> float:
    """x·y / (|x| |y|), by three dot products; 0 for a vector of zeros."""
    size = float(dot(x, x)) * float(dot(y, y))
    return float(dot(x, y)) / size**0.5 if size > 0 else 0.0


def run(seed: int = 0) -> Similarity:
    """Make the words' vectors from the package's text, and the cosines of the words in GROUPS."""
    texts = [re.findall(r"[a-z]{3,}", text.lower()) for text in package_text()]
    words, vectors = ppmi(texts)
    shown = tuple(word for group in GROUPS for word in group if word in words)
    shuffled = [word for text in texts for word in text]
    np.random.default_rng(seed).shuffle(shuffled)
    ends = np.cumsum([len(text) for text in texts])[:-1]
    mixed = ppmi([part.tolist() for part in np.split(np.array(shuffled), ends)])
    return Similarity(words, vectors, shown, _cosines(words, vectors, shown), _cosines(*mixed, shown))


def _cosines(words: tuple[str, ...], vectors: Array, shown: tuple[str, ...]) -> Array:
    rows = [vectors[words.index(word)] for word in shown]
    return np.array([[cosine(x, y) for y in rows] for x in rows])


def ppmi(texts: list[list[str]]) -> tuple[tuple[str, ...], Array]:
    """The words that occur often enough, and the PPMI of each pair."""
    counts = Counter(word for text in texts for word in text)
    words = tuple(sorted(word for word, count in counts.items() if count >= RARE and word not in STOP))
    place = {word: number for number, word in enumerate(words)}
    near = np.zeros((len(words), len(words)))
    for text in texts:
        numbers = [place.get(word) for word in text]
        for i, a in enumerate(numbers):
            for b in numbers[i + 1 : i + 1 + WINDOW]:
                if a is not None and b is not None and a != b:
                    near[[a, b], [b, a]] += 1
    total = near.sum(axis=1)
    smoothed = total**SMOOTHING
    expected = np.outer(total, smoothed / max(smoothed.sum(), 1))
    information = np.log(near, out=np.zeros_like(near), where=near > 0)
    information -= np.log(expected, out=np.zeros_like(near), where=near > 0)
    return words, np.maximum(information, 0)


def package_text() -> Iterator[str]:
    """The docstrings of the package's Python files and the comments of its C++ files, one by one."""
    for path in sorted(Path(__file__).parents[2].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                yield re.sub(r"(?m)^>>> .*(\n(?!\n).*)*", "", ast.get_docstring(node) or "")
    for path in sorted([*csrc().rglob("*.hpp"), *csrc().rglob("*.cpp")]):
        yield from re.findall(r"(?m)(?:^\s*//.*\n)+", path.read_text(encoding="utf-8"))


def finding(data: Similarity) -> str:
    within, between = data.within_and_between(data.cosines)
    within_shuffled, between_shuffled = data.within_and_between(data.shuffled)
    return (
        f"Two words of one subject have a mean cosine of {within:.2f}, two of different subjects {between:.2f}. With "
        f"the words shuffled it is {within_shuffled:.2f} and {between_shuffled:.2f}."
    )


def rows(data: Similarity) -> Rows:
    firsts = [word for group in GROUPS for word in group[:1] if word in data.shown]
    table = [[word, ", ".join(f"{near} {size:.2f}" for near, size in data.neighbours(word, 4))] for word in firsts]
    return [["word", "nearest, with their cosines"], *table]


def picture(data: Similarity) -> str:
    from ...output.pictures import Picture

    made = Picture(7.4, 3.9, columns=2, title="Cosines of word vectors, made from the package's text, and shuffled")
    with made as grid:
        for axes, cosines, title in (
            (grid[0, 0], data.cosines, "Cosines, from the package's text"),
            (grid[0, 1], data.shuffled, "the same text, words shuffled"),
        ):
            axes.imshow(np.where(np.eye(len(cosines)) > 0, np.nan, cosines), vmin=0, vmax=0.5, cmap="Blues")
            axes.set_title(title, fontsize=9)
            axes.set_xticks(range(len(data.shown)), data.shown, rotation=90, fontsize=7)
            axes.set_yticks(range(len(data.shown)), data.shown, fontsize=7)
            axes.grid(False)
    return made.svg


EXPERIMENT = Experiment("similarity", "Why does a dot product measure similarity?", run, finding, rows, picture)
