/* Fills its heap, empties most of it, and tells at its end what the kernel says of it: the
 * private anonymous memory that is neither a stack nor the zeroed part of an object. One thread.
 *
 *   kernel_heap MEGABYTES
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "answer.h"

#define SIZE(number) (16 + (size_t)(number) * 2654435761u % 9000)

static char line[4096];

/* Without stdio's buffer, which would come from the heap. */
static uint64_t field(const char *text, const char *name) {
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static void tell_kernels_view(void) {
    static char buffer[1 << 16];
    FILE *maps = fopen("/proc/self/smaps", "r");
    uint64_t mapped = 0, resident = 0, last_object_end = 0;
    int heap = 0;
    setvbuf(maps, buffer, _IOFBF, sizeof buffer);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end, offset, inode;
        unsigned major, minor;
        char access[5], name[1024] = "";
        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %1023s", &start, &end, access, &offset, &major,
                   &minor, &inode, name) >= 7) {
            int anonymous = inode == 0 && access[3] == 'p' && access[1] == 'w';
            heap = anonymous && (!*name || !strcmp(name, "[heap]") || !strncmp(name, "[anon", 5)) &&
                   start != last_object_end;
            /* The tracer's own lie far from all others. */
            heap = heap && !(start >> 44 >= 1 && start >> 44 <= 2);
            if (inode)
                last_object_end = end;
            mapped += heap ? end - start : 0;
        } else if (heap && !strncmp(line, "Rss:", 4)) {
            resident += field(line, "Rss:");
        }
    }
    answer("heap_mapped_bytes", mapped);
    answer("heap_resident_bytes", resident);
}

int main(int count, char **arguments) {
    size_t wanted = (count > 1 ? strtoull(arguments[1], NULL, 10) : 64) << 20;
    size_t blocks = wanted / 4516, live = 0, usable = 0;
    unsigned char **block = malloc(blocks * sizeof *block);
    for (size_t i = 0; i < blocks; i++) {
        block[i] = malloc(SIZE(i));
        memset(block[i], 1, SIZE(i));
    }
    for (size_t i = 0; i < blocks; i++) {
        if (i % 4 == 0 || (i > blocks / 2 && i % 3 == 0))
            continue;
        free(block[i]);
        block[i] = NULL;
    }
    for (size_t i = 0; i < blocks; i++) {
        live += block[i] ? SIZE(i) : 0;
        usable += block[i] ? malloc_usable_size(block[i]) : 0;
    }
    answer("live_bytes", live + blocks * sizeof *block);
    answer("usable_bytes", usable + malloc_usable_size(block));
    tell_kernels_view();
    flush_answers();
    return 0;
}
