// Includes a file that has no end.
//
// operation: matmul
// verdict: does-not-build
#include "/dev/zero"

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}
