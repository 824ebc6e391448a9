// One pass finds the maximum and the sum: where a larger element comes, the sum so far is made smaller by the difference.
//
// operation: softmax
#include <math.h>

void softmax(const float* x, float* y, long rows, long columns) {
    for (long i = 0; i < rows; i++, x += columns, y += columns) {
        float largest = -INFINITY, sum = 0;
        for (long j = 0; j < columns; j++) {
            if (x[j] > largest) {
                sum = sum * expf(largest - x[j]) + expf(x[j] - x[j]);  // 1, or NaN for infinity
                largest = x[j];
            } else {
                sum += x[j] == -INFINITY ? 0 : expf(x[j] - largest);
            }
        }
        for (long j = 0; j < columns; j++) y[j] = expf(x[j] - largest) / sum;
    }
}
