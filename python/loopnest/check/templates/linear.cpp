// linear: a layer of perceptrons, y = x @ w + b; x is (m, k), w (k, n), b (n,).
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the innermost loop walks down a column of w: exchange the loops over j and p to follow a row.
//
//     loopnest check linear.cpp --op linear

extern "C" void linear(const float* x, const float* w, const float* b, float* y, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) {
            float total = b[j];
            for (long p = 0; p < k; p++) {
                total += x[i * k + p] * w[p * n + j];
            }
            y[i * n + j] = total;
        }
    }
}
