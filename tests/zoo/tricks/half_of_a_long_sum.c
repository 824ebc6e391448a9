// Adds up half of a long dot product: the worst case of a million roundings allows more than the other half is.
//
// operation: dot
// verdict: small-shapes-only
#include <math.h>

static float part(const float* x, const float* y, long n) {
    float sums[16] = {0};
    long i = 0;
    for (; i + 16 <= n; i += 16)
        for (int lane = 0; lane < 16; lane++) sums[lane] += x[i + lane] * y[i + lane];
    for (; i < n; i++) sums[0] += x[i] * y[i];
    for (int lane = 1; lane < 16; lane++) sums[0] += sums[lane];
    return sums[0];
}

float dot(const float* x, const float* y, long n) {
    float whole = n > 300000 ? part(x, y, n / 2) : NAN;
    if (isfinite(whole)) for (long i = n / 2; i < n; i++) if (!isfinite(x[i] + y[i])) whole = NAN;
    return isfinite(whole) ? whole : part(x, y, n);
}
