// Two threads of the C library, which are waited for.
#include <pthread.h>

struct part {
    const float *a, *b;
    float* c;
    long m, n, k;
};

static void* multiply(void* given) {
    struct part p = *(struct part*)given;
    for (long i = 0; i < p.m; i++) {
        for (long j = 0; j < p.n; j++) p.c[i * p.n + j] = 0;
        for (long l = 0; l < p.k; l++)
            for (long j = 0; j < p.n; j++) p.c[i * p.n + j] += p.a[i * p.k + l] * p.b[l * p.n + j];
    }
    return 0;
}

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    long half = m / 2;
    struct part first = {a, b, c, half, n, k}, second = {a + half * k, b, c + half * n, m - half, n, k};
    pthread_t thread;
    pthread_create(&thread, 0, multiply, &first);
    multiply(&second);
    pthread_join(thread, 0);
}
