// Exercise 5: a dot product with many sums, which the compiler can turn into vector instructions.
//
// One running sum is a chain: each addition waits for the one before. These 32 sums do not wait for one another.
// sums[s] must become the sum of x[i] · y[i] over i = s, s + 32, s + 64, …; at the end, all sums are added up.
// You only need loops, numbers and arrays of C++: `float` is a float32, `long` a whole number.
//
//     loopnest exercise 5 --check

constexpr long SUMS = 32;

extern "C" void dot(const float* x, const float* y, float* result, long n) {
    float sums[SUMS] = {};  // zeros
    long i = 0;
    for (; i + SUMS <= n; i += SUMS) {
        sums[0] += x[i] * y[i];  // one sum of 32: write a loop over s that adds to every sum
    }
    // the remaining elements, fewer than 32, are not added yet

    float total = 0;
    for (long s = 0; s < SUMS; s++)
        total += sums[s];
    *result = total;
}
