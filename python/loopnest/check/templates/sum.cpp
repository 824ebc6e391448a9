// sum: the sum of all elements.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: each addition waits for the one before: add into several sums.
//
//     loopnest check sum.cpp --op sum

extern "C" void sum(const float* a, float* result, long n) {
    float total = 0;
    for (long i = 0; i < n; i++) {
        total += a[i];
    }
    *result = total;
}
