"""A dot product measures similarity: words that keep the same company have vectors that point the same way.

Each word gets a vector with a place for every other word: how much more often the two stand near each other in a text
than they would by chance, PMI(a, b) = log p(a, b) / (p(a) p(b)), and 0 where it is less often (PPMI). The dot product
x·y = |x| |y| cos θ adds up over all words that both meet: large where they meet the same ones. Divided by the lengths
it is the cosine, and the words with the largest cosine are a word's neighbours in meaning.

The text is this package's own: the lessons, docstrings and comments of its Python and C++ files. As a control the same
text is read with its words shuffled: then no company is left to be kept, and the similarities go.

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

import loopnest as ln

from ...arrays import Array
from ...backends.cpp import csrc
from .characters import shades
from .experiment import Experiment

WINDOW = 4
"""How many words to the left and to the right are near."""
RARE = 8
"""Words that are found less often have no vector: too little is known of them."""
SMOOTHING = 0.75
"""The power of the context's frequency, which keeps rare neighbours from counting too much (Levy et al. 2015, §3.2)."""

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
"""Words of four subjects; those that the text has are compared."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """words: with a vector each; vectors: (n, n) PPMI; cosines: by the groups' words, and with the text shuffled."""

    texts: int
    count: int
    words: tuple[str, ...]
    vectors: Array
    shown: tuple[str, ...]
    cosines: Array
    shuffled: Array

    def neighbours(self, word: str, many: int = 5) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with this one's.

        Raises ValueError for a word that has no vector.
        """
        if word not in self.words:
            raise ValueError(f"word is {word!r}, expected one of {len(self.words)} words, such as {self.words[0]!r}")
        x = self.vectors[self.words.index(word)]
        found = [(other, cosine(x, y)) for other, y in zip(self.words, self.vectors, strict=True) if other != word]
        return sorted(found, key=lambda pair: -pair[1])[:many]

    def within_and_between(self, cosines: Array) -> tuple[float, float]:
        """The mean cosine of two words of one group, and of two words of different groups."""
        group = {word: number for number, words in enumerate(GROUPS) for word in words}
        same = np.array([[group[a] == group[b] for b in self.shown] for a in self.shown])
        itself = np.eye(len(self.shown), dtype=bool)
        return float(cosines[same & ~itself].mean()), float(cosines[~same].mean())


def cosine(x: Array, y: Array) -> float:
    """x·y / (|x| |y|), all three of them dot products; 0 where a vector is.

    >>> cosine(np.array([1.0, 0.0]), np.array([2.0, 2.0])).__round__(4)
    0.7071
    """
    size = float(ln.dot(x, x)) * float(ln.dot(y, y))
    return float(ln.dot(x, y)) / size**0.5 if size > 0 else 0.0


def run(seed: int = 0) -> Similarity:
    """The words' vectors from the package's text, and the cosines of those of GROUPS."""
    texts = [re.findall(r"[a-z]{3,}", text.lower()) for text in package_text()]
    words, vectors = ppmi(texts)
    shown = tuple(word for group in GROUPS for word in group if word in words)
    every = [word for text in texts for word in text]
    np.random.default_rng(seed).shuffle(every)
    cuts = np.cumsum([len(text) for text in texts])[:-1]
    mixed = [list(map(str, part)) for part in np.split(np.array(every), cuts)]
    mixed_words, mixed_vectors = ppmi(mixed)
    return Similarity(
        len(texts),
        len(every),
        words,
        vectors,
        shown,
        _cosines(words, vectors, shown),
        _cosines(mixed_words, mixed_vectors, shown),
    )


def _cosines(words: tuple[str, ...], vectors: Array, shown: tuple[str, ...]) -> Array:
    rows = [vectors[words.index(word)] for word in shown]
    return np.array([[cosine(x, y) for y in rows] for x in rows])


def ppmi(texts: list[list[str]]) -> tuple[tuple[str, ...], Array]:
    """The words that are found often enough, and the PPMI of each pair.

    >>> words, vectors = ppmi([["tea", "cup"], ["tea", "cup"], ["axe", "log"]] * 8)
    >>> bool(vectors[words.index("tea"), words.index("cup")] > 0 == vectors[words.index("tea"), words.index("log")])
    True
    """
    counts = Counter(word for text in texts for word in text)
    words = tuple(sorted(word for word, count in counts.items() if count >= RARE and word not in STOP))
    place = {word: number for number, word in enumerate(words)}
    near = np.zeros((len(words), len(words)))
    for text in texts:
        numbers = [place.get(word) for word in text]
        for i, a in enumerate(numbers):
            for b in numbers[i + 1 : i + 1 + WINDOW]:
                if a is not None and b is not None and a != b:
                    near[a, b] += 1
                    near[b, a] += 1
    total = near.sum(axis=1)
    smoothed = total**SMOOTHING
    expected = np.outer(total, smoothed / max(smoothed.sum(), 1))
    information = np.log(near, out=np.zeros_like(near), where=near > 0)
    information -= np.log(expected, out=np.zeros_like(near), where=near > 0)
    return words, np.maximum(information, 0)


def package_text() -> Iterator[str]:
    """The docstrings of the package's Python files and the comments of its C++ files, a text each."""
    for path in sorted(Path(ln.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                docstring = ast.get_docstring(node)
                if docstring:
                    yield re.sub(r"(?m)^>>> .*(\n(?!\n).*)*", "", docstring)
    for path in sorted([*csrc().rglob("*.hpp"), *csrc().rglob("*.cpp")]):
        lines: list[str] = []
        for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
            comment = re.match(r"\s*//+ ?(.*)", line)
            if comment:
                lines.append(comment[1])
            elif lines:
                yield " ".join(lines)
                lines = []


def finding(data: Similarity) -> str:
    within, between = data.within_and_between(data.cosines)
    lost, rest = data.within_and_between(data.shuffled)
    return (
        f"Two words of one subject have a mean cosine of {within:.2f}, two of different subjects {between:.2f}. In the "
        f"same text with its words shuffled it is {lost:.2f} and {rest:.2f}: no difference is left."
    )


def text(data: Similarity, width: int) -> list[str]:
    lines = [f"{data.count:,} words in {data.texts:,} texts; {len(data.words):,} words have a vector", ""]
    wide = max(map(len, data.shown))
    for word, row in zip(data.shown, shades(data.cosines, 0, 0.5), strict=True):
        lines.append(f"{word:>{wide}} {row}")
    lines += ["", "nearest, with their cosines"]
    for group in GROUPS:
        for word in [word for word in group if word in data.shown][:1]:
            near = ", ".join(f"{other} {angle:.2f}" for other, angle in data.neighbours(word))
            lines.append(f"{word:>{wide}} {near}")
    return lines


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


EXPERIMENT = Experiment("similarity", "Why does a dot product measure similarity?", run, finding, text, picture)
