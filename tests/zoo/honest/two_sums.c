// Each addition's rounding error is computed exactly (Knuth's two-sum), and all of them are added at the end.
//
// operation: sum
#include <math.h>

float sum(const float* x, long n) {
    float total = 0, errors = 0;
    for (long i = 0; i < n; i++) {
        float next = total + x[i], part = next - total;
        errors += (total - (next - part)) + (x[i] - part);
        total = next;
    }
    return isfinite(total) ? total + errors : total;
}
