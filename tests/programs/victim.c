/* Allocates and frees until it is killed or told to end, and keeps account of it in a file that
 * outlives it: each thread notes what it is about to do, does it, and notes that it is done.
 *
 * victim WITNESS SEED THREADS             for ever
 * victim WITNESS SEED THREADS STEPS HOW   the first thread ends the process after so many steps,
 *                                         the others are at work then
 *   HOW: return | exit | _exit | quick_exit | abort | segv | exec PROGRAM
 *        hoard      takes a small block in every place, frees none any more, then returns
 *        eat        takes the largest block in every place and writes to it, then returns
 *
 * The file holds, for each thread: the call under way (0 = none) and its size, 64 bits each,
 * then the size of the block in each of 3,000 places, 32 bits each, 0 = none. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PLACES = 3000, MOST_BYTES = 150000, SMALL_BYTES = 500, STATUS = 7 };

struct account {
    volatile uint64_t under_way, size;
    volatile uint32_t sizes[PLACES];
};

static struct account *accounts;
static uint64_t seed;

static void in_order(void) {
    atomic_signal_fence(memory_order_seq_cst);
}

static void *take(struct account *account, uint64_t place, uint32_t size) {
    account->size = size;
    in_order();
    account->under_way = place + 1;
    in_order();
    void *block = malloc(size);
    account->sizes[place] = size;
    in_order();
    account->under_way = 0;
    return block;
}

static void give(struct account *account, uint64_t place, void *block) {
    account->size = account->sizes[place];
    in_order();
    account->under_way = place + 1;
    in_order();
    free(block);
    account->sizes[place] = 0;
    in_order();
    account->under_way = 0;
}

/* Fills the places that are empty. */
static void fill(struct account *account, void **blocks, uint32_t size) {
    for (uint64_t place = 0; place < PLACES; place++)
        if (!blocks[place]) {
            blocks[place] = take(account, place, size);
            memset(blocks[place], 1, size);
        }
}

static void work(uint64_t number, uint64_t steps, const char *then) {
    static _Thread_local void *blocks[PLACES];
    struct account *account = accounts + number;
    uint64_t random = 88172645463325252u * ((seed * 8 + number) * 2 + 1);
    for (uint64_t step = 0; step < steps; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        /* Most places are used often, some seldom. */
        uint64_t place = (random >> 20) % (random & 3 ? PLACES / 8 : PLACES);
        uint64_t most = random >> 60 ? SMALL_BYTES : MOST_BYTES;
        if (blocks[place]) {
            give(account, place, blocks[place]);
            blocks[place] = NULL;
        } else {
            blocks[place] = take(account, place, 1 + (uint32_t)((random >> 40) % most));
        }
    }
    if (strcmp(then, "hoard") == 0)
        fill(account, blocks, SMALL_BYTES);
    if (strcmp(then, "eat") == 0)
        fill(account, blocks, MOST_BYTES);
}

static void *work_for_ever(void *number) {
    work((uintptr_t)number, UINT64_MAX, "");
    return NULL;
}

static int end(const char *how, char **program) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (strcmp(how, "exit") == 0)
        exit(STATUS);
    if (strcmp(how, "_exit") == 0)
        _exit(STATUS);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(STATUS);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "segv") == 0)
        *(volatile int *)8 = 1;
    if (strcmp(how, "exec") == 0)
        execv(program[0], program);
    return STATUS;
}

int main(int count, char **arguments) {
    if (count != 4 && count < 6)
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
        pthread_create(&other, NULL, work_for_ever, (void *)number);
    const char *how = count == 4 ? "" : arguments[5];
    work(0, count == 4 ? UINT64_MAX : strtoull(arguments[4], NULL, 10), how);
    return end(how, arguments + 6);
}
