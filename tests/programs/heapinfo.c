/* Prints what glibc itself says about its heap: at the start of main, under load and at the end.
 *
 *   heapinfo main      blocks of the main thread
 *   heapinfo threads   threads too
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"

enum { BLOCKS = 5000, THREADS = 4 };

static void info(const char *when) {
#if __GLIBC_PREREQ(2, 33)
    struct mallinfo2 now = mallinfo2();
#else
    struct mallinfo now = mallinfo();
#endif
    put_text(when);
    put_text("\n");
    answer("arena", now.arena);
    answer("ordblks", now.ordblks);
    answer("smblks", now.smblks);
    answer("hblks", now.hblks);
    answer("hblkhd", now.hblkhd);
    answer("fsmblks", now.fsmblks);
    answer("uordblks", now.uordblks);
    answer("fordblks", now.fordblks);
    answer("keepcost", now.keepcost);
}

static void work(void **blocks) {
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(16 + (size_t)i * 7 % 3000);
    for (int i = 0; i < BLOCKS; i += 3)
        blocks[i] = realloc(blocks[i], 200000 + (size_t)i);
    for (int i = 0; i < BLOCKS; i += 2) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void *work_on_a_thread(void *blocks) {
    work(blocks);
    return NULL;
}

int main(int count, char **arguments) {
    static void *blocks[THREADS + 1][BLOCKS];
    info("start");
    work(blocks[0]);
    info("load");
    if (count > 1 && strcmp(arguments[1], "threads") == 0) {
        for (int i = 1; i <= THREADS; i++) {
            pthread_t thread;
            pthread_create(&thread, NULL, work_on_a_thread, blocks[i]);
            pthread_join(thread, NULL);
        }
        info("threads");
    }
    for (int i = 0; i <= THREADS; i++)
        for (int k = 0; k < BLOCKS; k++)
            free(blocks[i][k]);
    info("end");
    flush_answers();
    return 0;
}
