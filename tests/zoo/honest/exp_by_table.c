// exp(x) = 2^q · 2^(j/64) · exp(r), where a table has 2^(j/64) and r is so short that three terms are enough. The table
// is made in the first call.
//
// operation: sigmoid
#include <math.h>

static double table[64];

static double exponential(double x) {
    double steps = nearbyint(x * (64 / M_LN2)), r = x - steps * (M_LN2 / 64);
    long whole = (long)steps;
    return ldexp(table[whole & 63] * (1 + r * (1 + r * (0.5 + r * (1.0 / 6 + r / 24)))), (int)(whole >> 6));
}

void sigmoid(const float* x, float* y, long n) {
    if (table[0] == 0)
        for (int j = 0; j < 64; j++) table[j] = exp2(j / 64.0);
    for (long i = 0; i < n; i++) {
        double bounded = x[i] < -120 ? -120 : x[i] > 120 ? 120 : x[i];
        y[i] = (float)(isnan(x[i]) ? x[i] : 1 / (1 + exponential(-bounded)));
    }
}
