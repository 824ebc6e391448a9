// GELU and its slope in both forms, written so that nothing cancels far below 0.
//
//     exact form   x · erfc(-x/√2) / 2       slope  erfc(-x/√2) / 2 + x φ(x)
//     tanh form    x · σ(w)                  slope  σ(w) + x σ(w) σ(-w) w'        w = 2 √(2/π) (x + 0.044715 x³)
//
// (1 + tanh(w/2)) / 2 = σ(w). With p = exp(-|w|), σ(w) is 1 / (1 + p) or p / (1 + p), and σ(w) σ(-w) = p / (1 + p)².
// Every constant has type T: a double constant would make the arithmetic around it double's, at a 64th of the speed on
// most GPUs.
#pragma once

// Beyond ±40 the exponentials are 0; up to there no square overflows.
template <class T>
__device__ T nearer(T x) {
    return x < T(-40) ? T(-40) : x > T(40) ? T(40) : x;  // NaN stays NaN
}

template <class T>
__device__ T tanh_argument(T x) { return T(1.5957691216057307118) * x * (T(1) + T(0.044715) * x * x); }

// n / d for a d from 1 to 4, and so without the branch that a division needs for special cases: a guess from
// an approximate 1 / d, corrected by its remainder, which an FMA computes exactly.
__device__ inline double quotient(double n, double d) { return n / d; }
__device__ inline float quotient(float n, float d) {
#ifdef LOOPNEST_ON_CPU
    const float inverse = 1 / d;
#else
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(d));
#endif
    const float guess = n * inverse;
    return fmaf(fmaf(-guess, d, n), inverse, guess);
}

template <class T>
__device__ T gelu(T x, bool tanh_form) {
    if (!tanh_form) return x * T(0.5) * erfc(-x * T(0.70710678118654752440));
    const T w = tanh_argument(nearer(x)), p = exp(-fabs(w));
    return x * quotient(w < T(0) ? p : T(1), T(1) + p);
}

template <class T>
__device__ T gelu_slope(T x, bool tanh_form) {
    const T near = nearer(x);
    if (!tanh_form)
        return T(0.5) * erfc(-x * T(0.70710678118654752440)) +
               x * (T(0.39894228040143267794) * exp(-near * near / T(2)));
    const T w = tanh_argument(near), p = exp(-fabs(w)), below = T(1) + p;
    const T rise = T(1.5957691216057307118) * (T(1) + T(3 * 0.044715) * near * near);  // w'
    return quotient(w < T(0) ? p : T(1), below) + x * quotient(p, below * below) * rise;
}
