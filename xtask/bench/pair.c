/* What one malloc and its free cost when the thread's cache serves them: the cheapest calls there
 * are, so the ones on which a tracer weighs most. Each thread works for itself and shares nothing.
 *
 * usage: pair THREADS PAIRS        prints nanoseconds a pair, averaged over the threads */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK_BYTES = 64, WARM_UP = 10000, CACHE_LINE = 64 };

static pthread_barrier_t all_ready;

struct task {
    _Alignas(2 * CACHE_LINE) long pairs;
    double elapsed_ns;
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static void run_pairs(long pairs)
{
    for (long i = 0; i < pairs; i++) {
        /* A volatile pointer and a store through it: the compiler may remove neither call. */
        char *volatile block = malloc(BLOCK_BYTES);
        *(volatile char *)block = 1;
        free(block);
    }
}

static void *work(void *argument)
{
    struct task *task = argument;
    run_pairs(WARM_UP);
    pthread_barrier_wait(&all_ready);
    double start = now_ns();
    run_pairs(task->pairs);
    task->elapsed_ns = now_ns() - start;
    return NULL;
}

int main(int count, char **arguments)
{
    int threads = count > 1 ? atoi(arguments[1]) : 0;
    long pairs = count > 2 ? atol(arguments[2]) : 0;
    if (threads < 1 || threads > 64 || pairs < 1) {
        fprintf(stderr, "usage: pair THREADS PAIRS\n");
        return 2;
    }
    static struct task tasks[64];
    pthread_t handles[64];
    pthread_barrier_init(&all_ready, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        tasks[i].pairs = pairs;
        if (pthread_create(&handles[i], NULL, work, &tasks[i]) != 0) {
            fprintf(stderr, "pair: cannot start a thread\n");
            return 2;
        }
    }
    double total_ns = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
        total_ns += tasks[i].elapsed_ns;
    }
    printf("%.2f\n", total_ns / ((double)pairs * threads));
    return 0;
}
