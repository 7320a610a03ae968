/* A heap of many gigabytes, all of it touched, in which blocks then come and go: what it costs to
 * keep an eye on it.
 *
 * usage: large MEGABYTES PAIRS        prints the seconds that the pairs took */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BYTES = 8000, PAGE = 4096 };

int main(int count, char **arguments)
{
    long blocks = (count > 1 ? atol(arguments[1]) : 0) * (1 << 20) / BYTES;
    long pairs = count > 2 ? atol(arguments[2]) : 0;
    if (blocks < 1 || pairs < 1) {
        fprintf(stderr, "usage: large MEGABYTES PAIRS\n");
        return 2;
    }
    char **slots = malloc((size_t)blocks * sizeof *slots);
    for (long i = 0; slots && i < blocks; i++) {
        slots[i] = malloc(BYTES);
        if (!slots[i])
            return 2;
        slots[i][0] = slots[i][PAGE] = 1;
    }
    uint64_t random = 88172645463325252u;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long i = 0; slots && i < pairs; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        char **slot = &slots[random % (uint64_t)blocks];
        free(*slot);
        *slot = malloc(BYTES);
        if (!*slot)
            return 2;
        memset(*slot, 1, BYTES);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.6f\n",
           (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    return 0;
}
