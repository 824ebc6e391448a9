// add: c = a + b, element by element.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the compiler makes vector instructions of a loop without branches and without calls.
//
//     loopnest check add.cpp --op add

extern "C" void add(const float* a, const float* b, float* c, long n) {
    for (long i = 0; i < n; i++) {
        c[i] = a[i] + b[i];
    }
}
