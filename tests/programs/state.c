/* Fills the brk heap, an arena's heap and mappings of blocks' own, touches every byte, and tells
 * what it knows of itself at the end: its sums, and what the kernel's maps and statm say.
 *
 *   state [nothing]   with an argument: only what the kernel says, before any block
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"
#include "looks.h"

/* A look goes on with the pages where the last one stopped: so many go over all of them. */
enum { FULL_CYCLE_LOOKS = 10 };
enum { SMALL = 20000, IN_ARENA = 10000, LARGE = 5, LARGE_BYTES = 3000000, PAGE = 4096 };
#define ARENA_HEAP ((uintptr_t)64 << 20)

struct kept {
    unsigned char *block;
    size_t size;
};

static struct kept small[SMALL], in_arena[IN_ARENA], large[LARGE];
static char text[1 << 20];

static void take(struct kept *at, size_t size) {
    at->block = malloc(size);
    at->size = size;
    memset(at->block, 1, malloc_usable_size(at->block));
}

static void give_back(struct kept *at) {
    free(at->block);
    at->block = NULL;
}

static void fill(struct kept *blocks, int count, int free_every) {
    for (int i = 0; i < count; i++)
        take(&blocks[i], 24 + (size_t)i * 13 % 4000);
    /* Never the last: it keeps the heap from being trimmed. */
    for (int i = 0; i < count - 1; i += free_every)
        give_back(&blocks[i]);
}

static void *fill_an_arena(void *unused) {
    fill(in_arena, IN_ARENA, 4);
    return unused;
}

static uint64_t hexadecimal(const char **at) {
    uint64_t value = 0;
    for (;; (*at)++) {
        if (**at >= '0' && **at <= '9')
            value = value * 16 + (uint64_t)(**at - '0');
        else if (**at >= 'a' && **at <= 'f')
            value = value * 16 + (uint64_t)(**at - 'a' + 10);
        else
            return value;
    }
}

static void read_file(const char *path) {
    size_t length = 0;
    ssize_t got;
    int file = open(path, O_RDONLY);
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = 0;
    close(file);
}

/* Bytes of writable mappings inside [from, to), or of the one that is named. */
static uint64_t mapped(uint64_t from, uint64_t to, const char *name) {
    uint64_t bytes = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n') + 1) {
        const char *at = line;
        uint64_t start = hexadecimal(&at);
        at++;
        uint64_t end = hexadecimal(&at);
        const char *line_end = strchr(line, '\n');
        const char *found = name ? strstr(line, name) : NULL;
        if (name && (!found || found > line_end))
            continue;
        if (at[2] != 'w')
            continue;
        start = start > from ? start : from;
        end = end < to ? end : to;
        bytes += start < end ? end - start : 0;
    }
    return bytes;
}

/* An own mapping: the size word less its flags, and what lies before the chunk. */
static uint64_t own_mapping(void *block) {
    uint64_t *words = block;
    return words[-2] + (words[-1] & ~(uint64_t)7);
}

static uint64_t heap_mapped(void) {
    uintptr_t arena = (uintptr_t)in_arena[IN_ARENA - 1].block & ~(ARENA_HEAP - 1);
    uint64_t bytes = mapped(0, UINT64_MAX, "[heap]") + mapped(arena, arena + ARENA_HEAP, NULL);
    for (int i = 0; i < LARGE; i++)
        bytes += large[i].block ? own_mapping(large[i].block) : 0;
    return bytes;
}

/* Pages of a range that are in memory, in bytes. */
static uint64_t resident(uint64_t from, uint64_t to) {
    uint64_t bytes = 0, word;
    int file = open("/proc/self/pagemap", O_RDONLY);
    for (uint64_t page = from / PAGE; page < to / PAGE; page++)
        if (pread(file, &word, sizeof word, (off_t)(page * 8)) == sizeof word)
            bytes += (word >> 63) * PAGE;
    close(file);
    return bytes;
}

static uint64_t heap_resident(void) {
    uintptr_t arena = (uintptr_t)in_arena[IN_ARENA - 1].block & ~(ARENA_HEAP - 1);
    uint64_t bytes = resident(arena, arena + ARENA_HEAP);
    for (const char *line = text; line && *line; line = strchr(line, '\n') + 1) {
        const char *at = line;
        uint64_t start = hexadecimal(&at);
        at++;
        const char *name = strstr(line, "[heap]");
        if (name && name < strchr(line, '\n'))
            bytes += resident(start, hexadecimal(&at));
    }
    for (int i = 0; i < LARGE; i++) {
        uint64_t block = (uint64_t)(uintptr_t)large[i].block;
        uint64_t *words = large[i].block ? (uint64_t *)(uintptr_t)block : NULL;
        if (words)
            bytes += resident(block - 16 - words[-2], block - 16 - words[-2] + own_mapping(words));
    }
    return bytes;
}

static uint64_t sum(const struct kept *blocks, int count, uint64_t *usable, uint64_t *number) {
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        if (!blocks[i].block)
            continue;
        bytes += blocks[i].size;
        *usable += malloc_usable_size(blocks[i].block);
        ++*number;
    }
    return bytes;
}

/* Stretches of 2 MiB that live blocks have a part in. */
static uint64_t stretches(const struct kept *blocks, int count) {
    static uint64_t seen[4096];
    static uint64_t found;
    for (int i = 0; i < count; i++) {
        uint64_t start = (uintptr_t)blocks[i].block;
        if (!start)
            continue;
        uint64_t last = start + malloc_usable_size(blocks[i].block) - 1;
        for (uint64_t at = (start - 8) >> 21; at <= last >> 21; at++) {
            uint64_t known = 0;
            while (known < found && seen[known] != at)
                known++;
            if (known == sizeof seen / sizeof *seen)
                _exit(98);
            if (known == found)
                seen[found++] = at;
        }
    }
    return found;
}

static uint64_t resident_bytes(void) {
    uint64_t pages = 0;
    read_file("/proc/self/statm");
    for (const char *at = strchr(text, ' ') + 1; *at >= '0' && *at <= '9'; at++)
        pages = pages * 10 + (uint64_t)(*at - '0');
    return pages * PAGE;
}

int main(int count, char **arguments) {
    pthread_t thread;
    uint64_t usable = 0, blocks = 0, live;
    (void)arguments;
    if (count == 1) {
        fill(small, SMALL, 3);
        pthread_create(&thread, NULL, fill_an_arena, NULL);
        pthread_join(thread, NULL);
        for (int i = 0; i < LARGE; i++) {
            /* All that is there before the last block, with which the peaks come, is looked at. */
            if (i == LARGE - 1)
                hold_for_looks(FULL_CYCLE_LOOKS);
            take(&large[i], LARGE_BYTES);
        }
        give_back(&large[2]);
    }
    live = sum(small, SMALL, &usable, &blocks) + sum(in_arena, IN_ARENA, &usable, &blocks) +
           sum(large, LARGE, &usable, &blocks);
    answer("live_bytes", live);
    answer("live_blocks", blocks);
    answer("usable_bytes", usable);
    stretches(small, SMALL);
    stretches(in_arena, IN_ARENA);
    answer("stretches_of_2m", stretches(large, LARGE));
    read_file("/proc/self/maps");
    if (count == 1) {
        answer("heap_mapped_bytes", heap_mapped());
        answer("heap_resident_bytes", heap_resident());
        answer("brk_bytes", mapped(0, UINT64_MAX, "[heap]"));
    }
    answer("rss_bytes", resident_bytes());
    flush_answers();
    return 0;
}
