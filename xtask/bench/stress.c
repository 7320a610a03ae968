/* Random sizes at random places: each thread puts blocks of 128 B to 8 KB (powers of two) into a
 * random one of its 5,000 slots and frees what was there. The hard case for differences of
 * addresses, hence for bytes an event.
 *
 * usage: stress THREADS ALLOCATIONS   prints the seconds it took, as sqlite3's timer words it */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SLOTS = 5000, SMALLEST = 128, SIZES = 7 };

struct task {
    uint64_t random;
    long allocations;
};

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *work(void *argument)
{
    struct task *task = argument;
    char **slots = calloc(SLOTS, sizeof *slots);
    for (long i = 0; slots && i < task->allocations; i++) {
        uint64_t random = next(&task->random);
        size_t size = (size_t)SMALLEST << (random >> 32) % SIZES;
        char **slot = &slots[random % SLOTS];
        free(*slot);
        *slot = malloc(size);
        if (!*slot)
            break;
        for (size_t at = 0; at < size; at += 4096)
            (*slot)[at] = (char)i;
    }
    for (int i = 0; slots && i < SLOTS; i++)
        free(slots[i]);
    free(slots);
    return NULL;
}

int main(int count, char **arguments)
{
    int threads = count > 1 ? atoi(arguments[1]) : 0;
    long allocations = count > 2 ? atol(arguments[2]) : 0;
    if (threads < 1 || threads > 256 || allocations < 1) {
        fprintf(stderr, "usage: stress THREADS ALLOCATIONS\n");
        return 2;
    }
    static struct task tasks[256];
    pthread_t handles[256];
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < threads; i++) {
        tasks[i].random = 0x9E3779B97F4A7C15u * (uint64_t)(i + 1);
        tasks[i].allocations = allocations;
        if (pthread_create(&handles[i], NULL, work, &tasks[i]) != 0) {
            fprintf(stderr, "stress: cannot start a thread\n");
            return 2;
        }
    }
    for (int i = 0; i < threads; i++)
        pthread_join(handles[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("Run Time: real %.4f\n",
           (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    return 0;
}
