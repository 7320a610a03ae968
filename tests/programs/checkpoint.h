/* How a program tells at a moment in its middle what is true of it, and what the kernel says of
 * its heap: it holds until the tracer has looked at all of it, tells, and then does nothing for a
 * while, whose begin and end it tells too. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "answer.h"
#include "looks.h"

enum { LEAST_REST_US = 30000, MOST_OF_LOADER_BYTES = 64 << 10, PAGE = 4096 };
#define SECOND_NS 1000000000ull

static char text[32 << 20];

/* Reads a file of the kernel's into `text`. Takes no block. */
static void read_text(const char *path) {
    size_t length = 0;
    ssize_t got;
    int file = open(path, O_RDONLY);
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    close(file);
    text[length] = 0;
}

static uint64_t now_unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void answer_of(const char *when, const char *key, uint64_t value) {
    put_text(when);
    put_text(".");
    answer(key, value);
}

/* Where the loader put what the first thread has of its own (TLS); the kernel may make one mapping
 * of it and of heap that comes next to it. */
static uint64_t own_start, own_end;

static uint64_t resident_of_own(void) {
    uint64_t bytes = 0, word;
    int file = open("/proc/self/pagemap", O_RDONLY);
    for (uint64_t page = own_start / PAGE; page < own_end / PAGE; page++)
        if (pread(file, &word, sizeof word, (off_t)(page * 8)) == sizeof word)
            bytes += (word >> 63) * PAGE;
    close(file);
    return bytes;
}

/* The heap is the private anonymous memory that is neither a stack nor the zeroed part of an
 * object, nor the loader's. Stacks of threads look like heap: programs give theirs static ones. */
static void tell_kernels_view(const char *when) {
    uint64_t mapped = 0, resident = 0, last_object_end = 0, self = (uintptr_t)pthread_self();
    int heap = 0;
    read_text("/proc/self/smaps");
    for (char *line = text, *next; (next = strchr(line, '\n')); line = next + 1) {
        unsigned long start, end, offset, inode;
        unsigned major, minor;
        char access[5], name[1024] = "";
        *next = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %1023s", &start, &end, access, &offset, &major,
                   &minor, &inode, name) >= 7) {
            int anonymous = inode == 0 && access[3] == 'p' && access[1] == 'w';
            heap = anonymous && (!*name || !strcmp(name, "[heap]") || !strncmp(name, "[anon", 5)) &&
                   start != last_object_end;
            /* The tracer's own lie far from all others. */
            heap = heap && !(start >> 44 >= 1 && start >> 44 <= 2);
            if (inode && access[3] == 'p')
                last_object_end = end;
            mapped += heap ? end - start : 0;
            if (heap && start <= self && self < end) {
                if (!own_end && end - start <= MOST_OF_LOADER_BYTES) {
                    own_start = start;
                    own_end = end;
                }
                mapped -= own_end - own_start;
                resident -= resident_of_own();
            }
        } else if (heap && !strncmp(line, "Rss:", 4)) {
            resident += strtoull(line + 4, NULL, 10) * 1024;
        }
    }
    answer_of(when, "heap_mapped_bytes", mapped);
    answer_of(when, "heap_resident_bytes", resident);
}

static uint64_t first_ns;

/* From when on nothing changed. */
static uint64_t quiet_ns;

/* Lets so many looks pass, and then as many as go over everything. When that was over. */
static uint64_t hold_still(uint64_t looks) {
    quiet_ns = now_unix_ns();
    if (!first_ns)
        first_ns = quiet_ns;
    hold_for_looks(looks);
    hold_for_whole_cycle();
    return now_unix_ns();
}

/* Does nothing for as long as it takes for one of the moments that a report shows. */
static void stay_still(const char *when, uint64_t from_ns) {
    usleep((useconds_t)(LEAST_REST_US + (from_ns - first_ns) / 20000));
    answer_of(when, "quiet_unix_ns", quiet_ns);
    answer_of(when, "from_unix_ns", from_ns);
    answer_of(when, "to_unix_ns", now_unix_ns());
    flush_answers();
}

#endif
