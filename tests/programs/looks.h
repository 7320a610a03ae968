/* How a test program waits for the tracer's looks, instead of for a time that a busy machine makes
 * too short: the trace's header is mapped into the program itself and counts them, and looks can be
 * asked for in it (docs/trace-format.md). */
#ifndef LOOKS_H
#define LOOKS_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Words of the header. */
enum { LOOKS_TAKEN = 144 / 8, CONTROL = 176 / 8, LIST_CYCLES = 224 / 8, SCAN_CYCLES = 232 / 8 };
enum { LOOK_NOW = 2, LOOK_PAUSE_US = 500, LONGEST_HOLD_US = 60000000 };

/* The trace's header; NULL without a tracer. Reads the list of mappings line by line from a static
 * buffer. */
static volatile uint64_t *trace_header(void) {
    static char line[8192];
    static volatile uint64_t *found;
    static int asked;
    size_t length = 0;
    int file;
    if (asked)
        return found;
    asked = 1;
    file = open("/proc/self/maps", O_RDONLY);
    while (!found && length + 1 < sizeof line && read(file, line + length, 1) == 1) {
        if (line[length++] != '\n')
            continue;
        line[length] = 0;
        /* The header is what lies at the file's begin. */
        if (strstr(line, ".ftr") && strstr(line, " 00000000 "))
            found = (volatile uint64_t *)strtoull(line, NULL, 16);
        length = 0;
    }
    close(file);
    return found;
}

static inline uint64_t count_of_looks(void) {
    return trace_header() ? trace_header()[LOOKS_TAKEN] : 0;
}

/* Waits until a word of the header has grown by so much. Looks are taken between calls of the
 * program, but not at every malloc; at each calloc one is, once it is due or was asked for. Its
 * block comes from a thread's cache from the second time on, so that the heap stays as it is. */
static void hold_for(int word, uint64_t more, uint64_t control) {
    volatile uint64_t *header = trace_header();
    uint64_t target = header ? header[word] + more : 0;
    for (uint64_t waited_us = 0; header && header[word] < target; waited_us += LOOK_PAUSE_US) {
        if (waited_us > LONGEST_HOLD_US)
            _exit(98);
        __atomic_fetch_or(&header[CONTROL], control, __ATOMIC_RELAXED);
        free(calloc(1, 40));
        usleep(LOOK_PAUSE_US);
    }
}

/* Lets so many looks pass, as they come. */
static inline void hold_for_looks(uint64_t more) {
    hold_for(LOOKS_TAKEN, more, 0);
}

/* Asks for looks until they have gone over the whole list of mappings, and then over the whole heap:
 * twice, as they are in the middle of it when this begins. */
static inline void hold_for_whole_cycle(void) {
    hold_for(LIST_CYCLES, 2, LOOK_NOW);
    hold_for(SCAN_CYCLES, 2, LOOK_NOW);
}

#endif
