#!/usr/bin/env python3
"""Write csrc/simd/pieces_data.hpp: the polynomials of simd/pieces.hpp, computed with 30 digits, rounded to float32.

    python scripts/make_pieces.py        (half a minute; needs mpmath)

A function F of t >= 0 is cut into 32 or 8 pieces of the same width w = 1 / per_unit. Piece k lies around k w. There

    F(c + h) = F(c) + h p(h)

where the polynomial p interpolates the function in the piece's Chebyshev points.

c lies a quarter of the piece away from the end with the smaller |F|, because a rounding error counts for more there. It
is the first float32 from that place on whose F is within a 1000th of an ULP of a float32, so the first coefficient has
no rounding error (Gal, Computing Elementary Functions: A New Approach, 1986). In the first piece c is 0: GELU and tanh
are 0 there, and nothing may cancel near 0. The last piece is wider and has a small absolute error; its c is `top`, and
larger arguments count as `top`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath
from mpmath import mpf

mpmath.mp.dps = 30

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
    function: Function
    count: int
    degree: int
    per_unit: float  # 1 / w
    top: float  # larger arguments count as this one

    def edges(self, k: int) -> tuple[Real, Real]:
        low = (mpf(k) - 0.5) / mpf(self.per_unit) if k else mpf(0)
        return low, mpf(self.top) if k == self.count - 1 else (mpf(k) + 0.5) / mpf(self.per_unit)

    def centre(self, k: int) -> Real:
        low, high = self.edges(k)
        if k in (0, self.count - 1):
            return mpf(0) if k == 0 else mpf(self.top)
        falls = abs(self.function(high)) < abs(self.function(low))
        c = float32(low + (high - low) * (0.75 if falls else 0.25))
        while abs(self.function(c) - float32(self.function(c))) > ulp(self.function(c)) / 1000:
            c = next_float32(c)
        return c

    def coefficients(self, k: int) -> tuple[Real, list[Real]]:
        c = self.centre(k)
        first = self.function(c)
        low, high = self.edges(k)
        if k == self.count - 1:
            return c, interpolation(lambda h: self.function(c + h), low - c, high - c, self.degree + 1)
        return c, [first, *interpolation(lambda h: (self.function(c + h) - first) / h, low - c, high - c, self.degree)]


def interpolation(f: Function, low: Real, high: Real, count: int) -> list[Real]:
    """The coefficients of the polynomial through f in `count` Chebyshev points, the constant one first."""
    middle, half = (low + high) / 2, (high - low) / 2
    points = [middle + half * mpmath.cos(mpmath.pi * (2 * j + 1) / (2 * count)) for j in range(count)]
    points = [h if abs(h) > half / 1000 else half / 1000 for h in points]  # f may be a quotient by h
    powers = mpmath.matrix([[h**j for j in range(count)] for h in points])
    return list(mpmath.lu_solve(powers, mpmath.matrix([f(h) for h in points])))


def gelu_tanh_form(t: Real) -> Real:
    return t * sigmoid(-argument(t))


def gelu_exact_form(t: Real) -> Real:
    return t * tail(t)


def exact_form_slope(t: Real) -> Real:
    return tail(t) - t * density(t)


FUNCTIONS = {
    "gelu_tanh_form": "t σ(-w(t)),  w(t) = 2 √(2/π) (t + 0.044715 t³)",
    "gelu_exact_form": "t erfc(t/√2) / 2",
    "slope_tanh_form": "the derivative of x σ(w(x)) at x = -t",
    "slope_exact_form": "the derivative of x erfc(-x/√2) / 2 at x = -t",
    "tanh_pieces": "tanh(t)",
}

PIECES = {
    "gelu_tanh_form": (Pieces(gelu_tanh_form, 32, 5, 8.0, 5.125), Pieces(gelu_tanh_form, 8, 8, 2.0, 5.125)),
    "gelu_exact_form": (Pieces(gelu_exact_form, 32, 5, 8.0, 5.1875), Pieces(gelu_exact_form, 8, 8, 2.0, 5.1875)),
    "slope_tanh_form": (Pieces(tanh_form_slope, 32, 6, 6.25, 5.5), Pieces(tanh_form_slope, 8, 9, 1.75, 5.5)),
    "slope_exact_form": (Pieces(exact_form_slope, 32, 6, 5.75, 6.25), Pieces(exact_form_slope, 8, 9, 1.5, 6.25)),
    "tanh_pieces": (Pieces(mpmath.tanh, 32, 5, 4.0, 9.25), Pieces(mpmath.tanh, 8, 11, 1.0, 9.25)),
}


def float32(x: Real) -> Real:
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def next_float32(x: Real) -> Real:
    bits = struct.unpack("I", struct.pack("f", float(x)))[0]
    return mpf(struct.unpack("f", struct.pack("I", bits + 1))[0])


def ulp(x: Real) -> Real:
    return mpf(2) ** (mpmath.floor(mpmath.log(abs(x), 2)) - 23)


def shortest(x: Real) -> str:
    """The fewest digits that still give this float32."""
    return next(text for digits in range(1, 10) if float32(mpf(text := f"{float(x):.{digits}g}")) == x)


def rows(numbers: list[list[Real]]) -> str:
    """Rows of numbers as the initializer of an array, a line each."""
    return "{\n" + ",\n".join("    " + ", ".join(shortest(float32(x)) for x in row) for row in numbers) + "}"


def written(name: str, pieces: Pieces) -> str:
    columns = [pieces.coefficients(k) for k in range(pieces.count)]
    centres = rows([[c for c, _ in columns]])
    coefficients = rows([[p[power] for _, p in columns] for power in range(pieces.degree + 1)])
    head = f"// {FUNCTIONS[name]}\ninline constexpr PiecesData<{pieces.count}, {pieces.degree}> {name} = "
    return f"{head}{{{pieces.per_unit!r}, {pieces.top!r}, {centres}, {coefficients}}};\n"


HEAD = """\
// The pieces of simd/pieces.hpp. scripts/make_pieces.py writes this file and says how.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA {

// Piece k lies around k / per_unit; arguments above `top` count as `top`. c has a row for each power of t - centre[k].
template <int pieces, int highest_power>
struct PiecesData {
    static constexpr int degree = highest_power;
    float per_unit, top;
    alignas(64) float centre[pieces];
    alignas(64) float c[degree + 1][pieces];
};

"""


def main() -> None:
    of_32, of_8 = ("\n".join(written(name, pieces[n]) for name, pieces in PIECES.items()) for n in range(2))
    path = Path(__file__).parents[1] / "csrc" / "simd" / "pieces_data.hpp"
    tables = f"#if defined(__AVX512F__)\n\n{of_32}\n#else\n\n{of_8}\n#endif\n"
    path.write_text(HEAD + tables + "\n}  // namespace loopnest::LOOPNEST_ISA\n", encoding="utf-8")


if __name__ == "__main__":
    main()
