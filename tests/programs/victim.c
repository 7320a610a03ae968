/* Allocates and frees for ever, until it is killed, and keeps account of it in a file that
 * outlives it: each thread notes what it is about to do, does it, and notes that it is done.
 *
 * victim WITNESS SEED THREADS
 *
 * The file holds, for each thread: the call under way (0 = none) and its size, 64 bits each,
 * then the size of the block in each of 3,000 places, 32 bits each, 0 = none. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PLACES = 3000 };

struct account {
    volatile uint64_t under_way, size;
    volatile uint32_t sizes[PLACES];
};

static struct account *accounts;
static uint64_t seed;

static void in_order(void) {
    atomic_signal_fence(memory_order_seq_cst);
}

static void *work(void *number) {
    static _Thread_local void *blocks[PLACES];
    struct account *account = accounts + (intptr_t)number;
    uint64_t random = 88172645463325252u * ((seed * 8 + (uintptr_t)number) * 2 + 1);
    for (;;) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        /* Most places are used often, some seldom. */
        uint64_t place = (random >> 20) % (random & 3 ? PLACES / 8 : PLACES);
        uint32_t size = 1 + (uint32_t)((random >> 40) % (random >> 60 ? 500 : 150000));
        if (blocks[place]) {
            account->size = account->sizes[place];
            in_order();
            account->under_way = place + 1;
            in_order();
            free(blocks[place]);
            blocks[place] = NULL;
            account->sizes[place] = 0;
        } else {
            account->size = size;
            in_order();
            account->under_way = place + 1;
            in_order();
            blocks[place] = malloc(size);
            account->sizes[place] = size;
        }
        in_order();
        account->under_way = 0;
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4)
        return 2;
    seed = strtoull(arguments[2], NULL, 10);
    int threads = atoi(arguments[3]);
    int file = open(arguments[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    size_t bytes = sizeof *accounts * (size_t)threads;
    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        return 2;
    accounts = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (accounts == MAP_FAILED)
        return 2;
    pthread_t other;
    for (intptr_t number = 1; number < threads; number++)
        pthread_create(&other, NULL, work, (void *)number);
    work(NULL);
}
