/* How long each single call takes, and above all how long the slowest do: a tracer's rare work (a
 * new chunk, a look, the file that grows) shows in a few calls of a million, and in no mean.
 *
 * Blocks of 16 B to 4 KB come into one of many slots at random, so that the heap grows, has holes
 * and is used again. Calls during which the kernel took the processor away from the thread, or put
 * it to sleep, are counted apart: no tracer is to blame for them.
 *
 * usage: tails MILLIONS        prints, in nanoseconds, one a line:
 *   p50 p99 p99.9 p99.99 p99.999, the median and the greatest of the slowest calls of each
 *   million, calls set apart; then how many of a million took longer than 10, 20, 50, 100, 200 and
 *   500 us
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <x86intrin.h>

enum { SLOTS = 20000, LEAST = 16, MOST = 4096, MILLION = 1000000, MOST_MILLIONS = 1000 };
/* Buckets: 64 to a doubling of ticks. */
enum { FINE = 6, BUCKETS = 64 << FINE };

static uint64_t buckets[BUCKETS];
static uint64_t slowest[MOST_MILLIONS];
static char *slots[SLOTS];
static uint64_t ticks_to_look_into, apart;

static int bucket_of(uint64_t ticks)
{
    if (ticks < 1 << FINE)
        return (int)ticks;
    int log2 = 63 - __builtin_clzll(ticks);
    return (log2 - FINE + 1) << FINE | (int)(ticks >> (log2 - FINE) & ((1 << FINE) - 1));
}

static double ticks_of(int bucket)
{
    if (bucket < 1 << FINE)
        return bucket;
    int shift = (bucket >> FINE) - 1;
    return (double)(((uint64_t)(1 << FINE | (bucket & ((1 << FINE) - 1))) + 1) << shift);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static double ticks_a_ns(void)
{
    uint64_t ns = now_ns(), ticks = __rdtsc();
    while (now_ns() - ns < 20000000)
        ;
    return (double)(__rdtsc() - ticks) / (double)(now_ns() - ns);
}

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

static void took(uint64_t ticks, long million)
{
    static long known = -1;
    if (ticks >= ticks_to_look_into) {
        long now = switches();
        int others = known >= 0 && now != known;
        known = now;
        if (others) {
            apart++;
            return;
        }
    }
    buckets[bucket_of(ticks)]++;
    if (slowest[million] < ticks)
        slowest[million] = ticks;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int count, char **arguments)
{
    long millions = count > 1 ? atol(arguments[1]) : 0;
    if (millions < 1 || millions > MOST_MILLIONS) {
        fprintf(stderr, "usage: tails MILLIONS, at most %d\n", MOST_MILLIONS);
        return 2;
    }
    double unit = ticks_a_ns();
    uint64_t random = 88172645463325252u, calls = 0;
    ticks_to_look_into = UINT64_MAX;
    for (long million = 0; million < millions; million++) {
        /* The first switches were those of the start. */
        ticks_to_look_into = 1;
        took(1, million);
        ticks_to_look_into = (uint64_t)(5000 * unit);
        for (long i = 0; i < MILLION / 2; i++, calls += 2) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            char **slot = &slots[random % SLOTS];
            size_t size = LEAST + (random >> 32) % (MOST - LEAST);
            uint64_t begun = __rdtsc();
            free(*slot);
            uint64_t freed = __rdtsc();
            char *block = malloc(size);
            uint64_t ended = __rdtsc();
            *(volatile char *)block = 1;
            *slot = block;
            took(freed - begun, million);
            took(ended - freed, million);
        }
    }
    static const double parts[] = { 0.5, 0.99, 0.999, 0.9999, 0.99999 };
    uint64_t below = 0;
    int bucket = -1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        while (bucket + 1 < BUCKETS && (double)below < parts[i] * (double)(calls - apart))
            below += buckets[++bucket];
        printf("%.0f\n", ticks_of(bucket) / unit);
    }
    qsort(slowest, (size_t)millions, sizeof *slowest, by_size);
    printf("%.0f\n%.0f\n", (double)slowest[millions / 2] / unit,
           (double)slowest[millions - 1] / unit);
    printf("%lu\n", (unsigned long)apart);
    static const double longer_than_ns[] = { 1e4, 2e4, 5e4, 1e5, 2e5, 5e5 };
    for (size_t i = 0; i < sizeof longer_than_ns / sizeof *longer_than_ns; i++) {
        uint64_t longer = 0;
        for (int at = bucket_of((uint64_t)(longer_than_ns[i] * unit)) + 1; at < BUCKETS; at++)
            longer += buckets[at];
        printf("%.2f\n", (double)longer / (double)millions);
    }
    return 0;
}
