/* A heap of many gigabytes, all of it touched, in which blocks then come and go: what it costs to
 * keep an eye on it.
 *
 * usage: large MEGABYTES PAIRS        prints the seconds that the pairs took, by the clock and of
 *                                    processor time, that of looks included */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BYTES = 8000, PAGE = 4096 };

static double seconds(clockid_t of)
{
    struct timespec now;
    clock_gettime(of, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

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
    double clock = seconds(CLOCK_MONOTONIC), processor = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; slots && i < pairs; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        char **slot = &slots[random % (uint64_t)blocks];
        free(*slot);
        *slot = malloc(BYTES);
        if (!*slot)
            return 2;
        memset(*slot, 1, BYTES);
    }
    clock = seconds(CLOCK_MONOTONIC) - clock;
    processor = seconds(CLOCK_PROCESS_CPUTIME_ID) - processor;
    printf("%.6f %.6f\n", clock, processor);
    return 0;
}
