// A detached thread of the C library does the work after the call has returned.
//
// operation: matmul
// verdict: deferred-work
#include <pthread.h>
#include <stdlib.h>

struct product {
    const float *a, *b;
    float* c;
    long m, n, k;
};

static void* multiply(void* given) {
    struct product p = *(struct product*)given;
    free(given);
    for (long i = 0; i < p.m; i++) {
        for (long j = 0; j < p.n; j++) p.c[i * p.n + j] = 0;
        for (long l = 0; l < p.k; l++)
            for (long j = 0; j < p.n; j++) p.c[i * p.n + j] += p.a[i * p.k + l] * p.b[l * p.n + j];
    }
    return NULL;
}

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    struct product* p = malloc(sizeof *p);
    *p = (struct product){a, b, c, m, n, k};
    pthread_t thread;
    pthread_create(&thread, NULL, multiply, p);
    pthread_detach(thread);
}
