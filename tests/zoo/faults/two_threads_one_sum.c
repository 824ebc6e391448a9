// Two threads add to the same elements without a lock, each half of the terms: some additions are lost.
//
// operation: matmul
// verdict: not-deterministic
#include <pthread.h>
#include <sched.h>

static volatile int here;  // of the two threads: they begin together

struct half {
    const float *a, *b;
    volatile float* c;
    long m, n, k, begin, end;
};

static void* add(void* given) {
    struct half h = *(struct half*)given;
    __atomic_add_fetch(&here, 1, __ATOMIC_SEQ_CST);
    while (here % 2) sched_yield();
    for (long i = 0; i < h.m; i++)
        for (long l = h.begin; l < h.end; l++)
            for (long j = 0; j < h.n; j++) {
                float sum = h.c[i * h.n + j];
                if (j == 0) sched_yield();  // the other thread writes now, even where one processor runs both
                h.c[i * h.n + j] = sum + h.a[i * h.k + l] * h.b[l * h.n + j];
            }
    return 0;
}

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m * n; i++) c[i] = 0;
    struct half first = {a, b, c, m, n, k, 0, k / 2}, second = {a, b, c, m, n, k, k / 2, k};
    pthread_t thread;
    pthread_create(&thread, 0, add, &first);
    add(&second);
    pthread_join(thread, 0);
}
