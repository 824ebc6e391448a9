// dot: the dot product of two vectors, result = Σ_i x[i] · y[i].
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: each addition waits for the one before: add into several sums.
//
//     loopnest check dot.cpp --op dot

extern "C" void dot(const float* x, const float* y, float* result, long n) {
    float total = 0;
    for (long i = 0; i < n; i++) {
        total += x[i] * y[i];
    }
    *result = total;
}
