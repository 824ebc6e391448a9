// sgd: param ← param - lr · grad, in place.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the compiler makes vector instructions of a loop without branches and without calls.
//
//     loopnest check sgd.cpp --op sgd

extern "C" void sgd(float* param, const float* grad, long n, double lr) {
    for (long i = 0; i < n; i++) {
        param[i] -= lr * grad[i];
    }
}
