// The same in C, where no array is read-only by its type: a is cast, and set to zero.
//
// operation: matmul
// verdict: changes-input
#include <string.h>

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    memset((float*)a, 0, (size_t)(m * k) * sizeof(float));
    memset(c, 0, (size_t)(m * n) * sizeof(float));
}
