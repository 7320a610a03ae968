/* Maps two stretches of whole huge pages, asks for huge pages in one of them and for none in the
 * other, touches all of both, and tells what the kernel gave.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"
#include "looks.h"

#define HUGE ((size_t)2 << 20)
#define HALF (8 * HUGE)

static char text[1 << 16];

/* A line of smaps_rollup, in bytes. */
static uint64_t rolled_up(const char *name) {
    size_t length = 0;
    ssize_t got;
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    while (file >= 0 && (got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    close(file);
    text[length] = 0;
    char *found = strstr(text, name);
    return found ? strtoull(found + strlen(name), NULL, 10) * 1024 : 0;
}

int main(void) {
    char *map = mmap(NULL, 2 * HALF + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return 99;
    char *huge = (char *)(((uintptr_t)map + HUGE - 1) / HUGE * HUGE), *small = huge + HALF;
    int refused = madvise(huge, HALF, MADV_HUGEPAGE) != 0;
    refused = madvise(small, HALF, MADV_NOHUGEPAGE) != 0 || refused;
    for (size_t at = 0; at < 2 * HALF; at += 4096)
        huge[at] = 1;
    hold_for_looks(2);
    answer("refused", (uint64_t)refused);
    answer("huge_address", (uint64_t)(uintptr_t)huge);
    answer("small_address", (uint64_t)(uintptr_t)small);
    answer("half_bytes", HALF);
    answer("huge_bytes", rolled_up("AnonHugePages:"));
    flush_answers();
    return 0;
}
