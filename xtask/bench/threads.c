/* How much memory the process has while each of its threads has made some pairs of malloc and free
 * and waits.
 *
 * usage: threads THREADS PAIRS        prints KiB that are resident: anonymous, and of files */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64, MOST_THREADS = 1024 };

static long pairs;
static pthread_barrier_t all_done, all_told;

static void *work(void *unused)
{
    for (long i = 0; i < pairs; i++) {
        char *volatile block = malloc(BLOCK_BYTES);
        *(volatile char *)block = 1;
        free(block);
    }
    pthread_barrier_wait(&all_done);
    pthread_barrier_wait(&all_told);
    return unused;
}

/* A line of /proc/self/status in KiB. */
static long status(const char *key)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kib = atol(line + strlen(key));
    if (file != NULL)
        fclose(file);
    return kib;
}

int main(int count, char **arguments)
{
    int threads = count > 1 ? atoi(arguments[1]) : 0;
    pairs = count > 2 ? atol(arguments[2]) : 0;
    if (threads < 1 || threads > MOST_THREADS || pairs < 1) {
        fprintf(stderr, "usage: threads THREADS PAIRS\n");
        return 2;
    }
    static pthread_t handles[MOST_THREADS];
    pthread_barrier_init(&all_done, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&all_told, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&handles[i], NULL, work, NULL) != 0) {
            fprintf(stderr, "threads: cannot start a thread\n");
            return 2;
        }
    pthread_barrier_wait(&all_done);
    /* A trace on tmpfs counts as shared memory. */
    printf("%ld %ld\n", status("RssAnon:"), status("RssFile:") + status("RssShmem:"));
    pthread_barrier_wait(&all_told);
    for (int i = 0; i < threads; i++)
        pthread_join(handles[i], NULL);
    return 0;
}
