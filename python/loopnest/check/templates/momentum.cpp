// momentum: velocity ← mu · velocity + grad; param ← param - lr · velocity, in place.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the compiler makes vector instructions of a loop without branches and without calls.
//
//     loopnest check momentum.cpp --op momentum

extern "C" void momentum(float* param, const float* grad, float* velocity, long n, double lr, double mu) {
    for (long i = 0; i < n; i++) {
        velocity[i] = mu * velocity[i] + grad[i];
        param[i] -= lr * velocity[i];
    }
}
