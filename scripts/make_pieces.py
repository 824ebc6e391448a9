#!/usr/bin/env python3
"""Write csrc/simd/pieces_data.hpp: the polynomials of simd/pieces.hpp, in 30 digits and rounded to float32.

    python scripts/make_pieces.py        (some minutes; needs mpmath)

A function F of t >= 0 is cut into 32 pieces of the same width w = 1 / per_unit. Piece k lies around k w, and there

    F(c + h) = F(c) + h p(h),        c close to k w

with p the polynomial that takes the function's values in Chebyshev points of the piece. c is chosen, among the float32
numbers next to k w, such that F(c) is a float32 but for a 1000th of an ULP: the first coefficient then costs no
rounding error (Gal, Computing Elementary Functions: A New Approach, 1986). In the first two pieces c is 0, where GELU
and tanh are 0, since nothing may cancel near that. The last piece is wider, ends at `top`, and is a polynomial for an
absolute error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath
from mpmath import mpf

mpmath.mp.dps = 30
PIECES = 32

Real = mpf
Function = Callable[[Real], Real]


def tail(t: Real) -> Real:
    return mpmath.erfc(t / mpmath.sqrt(2)) / 2


def density(t: Real) -> Real:
    return mpmath.exp(-t * t / 2) / mpmath.sqrt(2 * mpmath.pi)


def sigmoid(x: Real) -> Real:
    return 1 / (1 + mpmath.exp(-x))


LINEAR, CUBIC = 2 * mpmath.sqrt(2 / mpmath.pi), mpf("0.044715")


def argument(t: Real) -> Real:
    return LINEAR * (t + CUBIC * t**3)


def tanh_form_slope(t: Real) -> Real:
    down, up = sigmoid(-argument(t)), sigmoid(argument(t))
    return down - t * down * up * LINEAR * (1 + 3 * CUBIC * t * t)


@dataclass(frozen=True)
class Pieces:
    name: str
    formula: str
    function: Function
    degree: int
    per_unit: float  # 1 / w
    top: float  # arguments beyond are taken for this one

    def edges(self, k: int) -> tuple[Real, Real]:
        low = (mpf(k) - 0.5) / mpf(self.per_unit) if k else mpf(0)
        return low, mpf(self.top) if k == PIECES - 1 else (mpf(k) + 0.5) / mpf(self.per_unit)

    def centre(self, k: int) -> Real:
        """0 for the first two pieces. For the last, its middle. Else a float32 next to k w of which the function is a
        float32 too, but for a 1000th of an ULP."""
        low, high = self.edges(k)
        c = float32((low + high) / 2)
        if k < 2:
            return mpf(0)
        while k < PIECES - 1:
            exact = self.function(c)
            if abs(exact - float32(exact)) < ulp(exact) / 1000:
                break
            c = next_float32(c)
        return c

    def coefficients(self, k: int) -> tuple[Real, list[Real]]:
        c = self.centre(k)
        first = self.function(c)
        low, high = self.edges(k)
        if k == PIECES - 1:
            return c, interpolation(lambda h: self.function(c + h), low - c, high - c, self.degree + 1)
        return c, [first, *interpolation(lambda h: (self.function(c + h) - first) / h, low - c, high - c, self.degree)]


def interpolation(f: Function, low: Real, high: Real, count: int) -> list[Real]:
    """The polynomial that takes f's values in `count` Chebyshev points: its coefficients, the constant one first."""
    points = [(low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * j + 1) / (2 * count)) for j in range(count)]
    points = [h if h else (high - low) / 1000 for h in points]  # (f(c + h) - f(c)) / h is not to be had at 0
    powers = mpmath.matrix([[h**j for j in range(count)] for h in points])
    return list(mpmath.lu_solve(powers, mpmath.matrix([f(h) for h in points])))


FUNCTIONS = (
    Pieces("GeluTanhForm", "t σ(-w(t)),  w(t) = 2 √(2/π) (t + 0.044715 t³)", lambda t: t * sigmoid(-argument(t)), 5, 8.0, 5.125),
    Pieces("GeluErfForm", "t erfc(t/√2) / 2", lambda t: t * tail(t), 5, 8.0, 5.1875),
    Pieces("SlopeTanhForm", "the derivative of x σ(w(x)) at -t", tanh_form_slope, 6, 6.25, 5.5),
    Pieces("SlopeErfForm", "the derivative of x erfc(-x/√2) / 2 at -t", lambda t: tail(t) - t * density(t), 6, 5.75, 6.25),
    Pieces("TanhPieces", "tanh(t)", mpmath.tanh, 6, 4.0, 9.25),
)


def float32(x: Real) -> Real:
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def next_float32(x: Real) -> Real:
    bits = struct.unpack("I", struct.pack("f", float(x)))[0]
    return mpf(struct.unpack("f", struct.pack("I", bits + 1))[0])


def ulp(x: Real) -> Real:
    return mpf(2) ** (mpmath.floor(mpmath.log(abs(x), 2)) - 23)


def table(name: str, numbers: list[Real]) -> str:
    cells = [f"{float(float32(x)):.9g}" for x in numbers]
    lines = [", ".join(cells[i : i + 8]) for i in range(0, len(cells), 8)]
    body = ",\n        ".join(lines)
    return f"    {name}{{\n        {body}}}"


def written(pieces: Pieces) -> str:
    columns = [pieces.coefficients(k) for k in range(PIECES)]
    centres = table("alignas(64) static constexpr float centre[32] = ", [c for c, _ in columns])
    rows = ",\n".join(
        "    " + table("", [p[i] for _, p in columns]).lstrip().replace("\n", "\n    ") for i in range(pieces.degree + 1)
    )
    return (
        f"// {pieces.formula}\n"
        f"struct {pieces.name} {{\n"
        f"    static constexpr int degree = {pieces.degree};\n"
        f"    static constexpr float per_unit = {pieces.per_unit!r}, top = {pieces.top!r};\n"
        f"{centres};\n"
        f"    alignas(64) static constexpr float c[degree + 1][32] = {{\n{rows}}};\n"
        f"}};\n"
    )


HEAD = """\
// The pieces of simd/pieces.hpp: written by scripts/make_pieces.py, which says how.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA {

"""


def main() -> None:
    path = Path(__file__).parents[1] / "csrc" / "simd" / "pieces_data.hpp"
    path.write_text(HEAD + "\n".join(map(written, FUNCTIONS)) + "\n}  // namespace loopnest::LOOPNEST_ISA\n", encoding="utf-8")


if __name__ == "__main__":
    main()
