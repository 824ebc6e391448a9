// relu: x where x > 0, else 0; NaN stays NaN.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the compiler makes vector instructions of a loop without branches and without calls.
//
//     loopnest check relu.cpp --op relu

extern "C" void relu(const float* x, float* y, long n) {
    for (long i = 0; i < n; i++) {
        y[i] = x[i] <= 0 ? 0 : x[i];
    }
}
