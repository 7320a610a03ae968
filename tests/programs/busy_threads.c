/* Threads that allocate from many depths, all at once and for so many pairs each, and then stay.
 *
 *   busy_threads THREADS PAIRS      prints "ready" when all have done so, and waits for a signal
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"

enum { MOST_THREADS = 64, DEPTHS = 60 };

static pthread_barrier_t done;
static unsigned long pairs;

__attribute__((noinline)) static void deeper(int left) {
    if (left > 0) {
        deeper(left - 1);
        __asm__ volatile("");
        return;
    }
    char *volatile block = malloc(100);
    *block = 1;
    free(block);
}

static void *work(void *unused) {
    for (unsigned long i = 0; i < pairs; i++)
        deeper((int)(i % DEPTHS));
    pthread_barrier_wait(&done);
    pause();
    return unused;
}

int main(int count, char **arguments) {
    unsigned long threads = argument(count, arguments, 1, 1);
    pthread_t ignored;
    pairs = argument(count, arguments, 2, 1000);
    if (threads < 1 || threads > MOST_THREADS)
        return 2;
    pthread_barrier_init(&done, NULL, (unsigned)threads + 1);
    for (unsigned long i = 0; i < threads; i++)
        pthread_create(&ignored, NULL, work, NULL);
    pthread_barrier_wait(&done);
    put_text("ready\n");
    flush_answers();
    pause();
    return 0;
}
