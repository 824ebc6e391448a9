// A sum whose vector path, for more than 64 elements, takes NaN for 0.
//
// operation: sum
// verdict: nan-lost
#include <math.h>

void sum(const float* a, float* total, long n) {
    double s = 0;
    for (long i = 0; i < n; i++) s += n > 64 && isnan(a[i]) ? 0 : a[i];
    *total = (float)s;
}
