/* Jumps away while its allocator (reentrant.c, preloaded) is asked what may be used of a block, and
 * takes more blocks from there on.
 *
 *   questions jump|signal DEPTH     by itself or from a signal's handler; the blocks behind that are
 *                                   taken so many calls deep, and the one that is lost 10
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "answer.h"

enum { KEPT = 200, BYTES = 100, LOST_DEPTH = 10 };

static sigjmp_buf here;
static int by_signal;
static void *kept[KEPT];

static void on_signal(int number) {
    (void)number;
    siglongjmp(here, 1);
}

static void away(void) {
    if (by_signal)
        raise(SIGUSR1);
    siglongjmp(here, 1);
}

static __attribute__((noinline)) void *take(int depth) {
    void *block = depth > 0 ? take(depth - 1) : calloc(1, BYTES);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

int main(int count, char **arguments) {
    void (*volatile *when_asked)(void) = dlsym(RTLD_DEFAULT, "when_asked");
    if (count < 3 || when_asked == NULL)
        return 2;
    by_signal = strcmp(arguments[1], "signal") == 0;
    signal(SIGUSR1, on_signal);
    if (sigsetjmp(here, 1) == 0) {
        *when_asked = away;
        take(LOST_DEPTH);
        return 3;
    }
    uint64_t usable = 0;
    for (int i = 0; i < KEPT; i++)
        kept[i] = take(atoi(arguments[2]));
    for (int i = 0; i < KEPT; i++)
        usable += malloc_usable_size(kept[i]);
    answer("kept", KEPT);
    answer("usable", usable);
    answer("unused", usable - KEPT * BYTES);
    flush_answers();
    return 0;
}
