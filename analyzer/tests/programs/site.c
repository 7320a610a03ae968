/* A program that knows where it allocates: each call of note() tells its stack. */
#define _GNU_SOURCE
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void note(void) {
    void *frames[64];
    int count = backtrace(frames, 64);
    printf("stack");
    for (int i = 1; i < count; i++)
        printf(" %p", frames[i]);
    printf("\n");
}

static void maps(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    char line[4096];
    while (file && fgets(line, sizeof line, file))
        printf("map %s", line);
}

__attribute__((noinline)) void *xmalloc(size_t bytes) {
    note();
    void *block = malloc(bytes);
    if (!block)
        abort();
    return block;
}

static inline __attribute__((always_inline)) char *copy_name(const char *name) {
    char *copy = xmalloc(strlen(name) + 1); /* SITE */
    return strcpy(copy, name);
}

__attribute__((noinline)) void keep_session(const char *name, char **slot) {
    *slot = copy_name(name); /* CALLER */
    slot[1] = slot[0];
}

int main(int argc, char **argv) {
    static char *slots[2];
    setvbuf(stdout, NULL, _IONBF, 0);
    keep_session(argv[argc - 1], slots);
    maps();
    return slots[1] != slots[0];
}
