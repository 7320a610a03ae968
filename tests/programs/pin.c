/* One function's blocks of 48 bytes hold 40 MB: each lies on a page of its own, and what lay
 * between them is gone. With the argument "pooled" they come from elsewhere, and the pages of
 * the heap go back. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SESSIONS = 10000, REQUEST_BYTES = 4000 };

struct session {
    struct session *next;
    char state[40];
};

static struct session *sessions;
static char *requests[SESSIONS];
static struct session *pool;

static void *xmalloc(size_t bytes) {
    void *block = malloc(bytes);
    if (!block)
        abort();
    return memset(block, 1, bytes);
}

__attribute__((noinline)) static void keep_session(void) {
    struct session *session = pool ? pool++ : xmalloc(sizeof *session); /* SITE */
    session->next = sessions;
    sessions = session;
}

__attribute__((noinline)) static void begin_request(int number) {
    requests[number] = xmalloc(REQUEST_BYTES);
    requests[number][0] = (char)number;
}

int pin(const char *how) {
    if (strcmp(how, "pooled") == 0)
        pool = mmap(NULL, SESSIONS * sizeof *pool, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int number = 0; number < SESSIONS; number++) {
        begin_request(number);
        keep_session();
    }
    for (int number = 0; number < SESSIONS; number++)
        free(requests[number]);
    malloc_trim(0);
    return sessions == NULL;
}

#ifndef LIBRARY
int main(int argc, char **argv) { return pin(argc > 1 ? argv[1] : ""); }
#endif
