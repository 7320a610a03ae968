/* Pairs of malloc and free, then pairs whose malloc is slow: see
 * slow_malloc.c, which is to be preloaded.
 *
 *   latency FAST_PAIRS SLOW_PAIRS WAIT_NS
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "answer.h"

static void pairs(unsigned long count) {
    for (unsigned long i = 0; i < count; i++) {
        char *volatile block = malloc(24 + i % 700);
        *block = 1;
        free(block);
    }
}

int main(int count, char **arguments) {
    void (*wait)(long) = (void (*)(long))dlsym(RTLD_DEFAULT, "slow_malloc_waits");
    if (!wait)
        return 2;
    pairs(argument(count, arguments, 1, 0));
    wait((long)argument(count, arguments, 3, 0));
    pairs(argument(count, arguments, 2, 0));
    wait(0);
    return 0;
}
