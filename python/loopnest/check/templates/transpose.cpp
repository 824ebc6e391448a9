// transpose: b[j, i] = a[i, j].
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: every store goes to another cache line: go through a and b in square blocks.
//
//     loopnest check transpose.cpp --op transpose

extern "C" void transpose(const float* a, float* b, long m, long n) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) {
            b[j * m + i] = a[i * n + j];
        }
    }
}
