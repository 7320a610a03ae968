/* Published loads, smaller: what allocators are compared by.
 *
 *   shootout slots  THREADS ALLOCS SLOTS   each block goes into a random one of a thread's slots
 *   shootout across THREADS ALLOCS SLOTS   the same, but what it evicts goes to the next thread
 *   shootout decay  THREADS ALLOCS SLOTS   slots, and then threads that live on with little to do
 *   shootout leave  THREADS ALLOCS SLOTS   across, and it ends when most is live
 *
 * Blocks are of 128 B to 8 KiB by powers of two, written as a whole. It tells the kernel's figures
 * when most is live and when all is freed, and rests a little then. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "answer.h"

enum { MOST_THREADS = 32, CHANNEL = 256, SIZES = 7, PAGE = 4096, NAPS = 15, NAP_MS = 100 };

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void *blocks[CHANNEL];
    int count, closed;
};

static struct channel channels[MOST_THREADS];
static unsigned long threads, allocs, slots;
static int across, decays;
static pthread_barrier_t together;

static void rest(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void tell_rss(const char *key) {
    char text[256] = "";
    int file = open("/proc/self/statm", O_RDONLY);
    if (read(file, text, sizeof text - 1) <= 0)
        _exit(99);
    close(file);
    answer(key, strtoull(strchr(text, ' '), NULL, 10) * PAGE);
}

static void send(struct channel *to, void *block) {
    pthread_mutex_lock(&to->lock);
    while (to->count == CHANNEL)
        pthread_cond_wait(&to->changed, &to->lock);
    to->blocks[to->count++] = block;
    pthread_mutex_unlock(&to->lock);
}

/* Takes what is there, without waiting. */
static int receive(struct channel *from, void **blocks) {
    pthread_mutex_lock(&from->lock);
    int count = from->count;
    memcpy(blocks, from->blocks, (size_t)count * sizeof *blocks);
    from->count = 0;
    pthread_cond_broadcast(&from->changed);
    pthread_mutex_unlock(&from->lock);
    return count;
}

static void free_received(unsigned long mine) {
    void *blocks[CHANNEL];
    for (int i = receive(&channels[mine], blocks); i-- > 0;)
        free(blocks[i]);
}

/* Sends, and frees what came meanwhile: else a ring of full channels would stand still. */
static void hand_on(unsigned long mine, void *block) {
    struct channel *to = &channels[(mine + 1) % threads];
    free_received(mine);
    pthread_mutex_lock(&to->lock);
    int full = to->count == CHANNEL;
    pthread_mutex_unlock(&to->lock);
    if (full)
        free(block);
    else
        send(to, block);
}

static void *work(void *number) {
    unsigned long mine = (unsigned long)(uintptr_t)number;
    uint64_t state = 88172645463325252u + mine * 7919;
    void **held = calloc(slots, sizeof *held);
    for (unsigned long i = 0; i < allocs; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        size_t size = (size_t)128 << state % SIZES;
        unsigned long slot = (state >> 20) % slots;
        if (held[slot] && across)
            hand_on(mine, held[slot]);
        else
            free(held[slot]);
        held[slot] = malloc(size);
        memset(held[slot], 1, size);
    }
    pthread_barrier_wait(&together);
    /* The first thread tells what is in memory. */
    pthread_barrier_wait(&together);
    free_received(mine);
    for (unsigned long slot = 0; slot < slots; slot++)
        free(held[slot]);
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    free_received(mine);
    for (int nap = 0; decays && nap < NAPS; nap++) {
        rest(NAP_MS);
        for (int i = 0; i < 2000; i++)
            free(malloc((size_t)128 << i % SIZES));
    }
    if (decays)
        pthread_barrier_wait(&together);
    free(held);
    if (decays)
        pthread_barrier_wait(&together);
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t running[MOST_THREADS];
    static char stacks[MOST_THREADS][256 << 10] __attribute__((aligned(4096)));
    if (count < 5)
        return 98;
    int leaves = strcmp(arguments[1], "leave") == 0;
    across = leaves || strcmp(arguments[1], "across") == 0;
    decays = strcmp(arguments[1], "decay") == 0;
    threads = argument(count, arguments, 2, 8);
    allocs = argument(count, arguments, 3, 50000);
    slots = argument(count, arguments, 4, 2000);
    pthread_barrier_init(&together, NULL, (unsigned)threads + 1);
    for (uintptr_t i = 0; i < threads; i++) {
        pthread_attr_t own;
        pthread_mutex_init(&channels[i].lock, NULL);
        pthread_cond_init(&channels[i].changed, NULL);
        pthread_attr_init(&own);
        pthread_attr_setstack(&own, stacks[i], sizeof stacks[i]);
        if (pthread_create(&running[i], &own, work, (void *)i) != 0)
            return 99;
    }
    pthread_barrier_wait(&together);
    rest(NAP_MS);
    tell_rss("peak");
    if (leaves) {
        flush_answers();
        _exit(0);
    }
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    rest(NAP_MS);
    tell_rss("dropped");
    pthread_barrier_wait(&together);
    if (decays) {
        pthread_barrier_wait(&together);
        rest(NAP_MS);
        tell_rss("decayed");
        pthread_barrier_wait(&together);
    }
    for (uintptr_t i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    rest(NAP_MS);
    tell_rss("end");
    flush_answers();
    return 0;
}
