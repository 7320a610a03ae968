/* Pairs of malloc and free that the thread's cache serves, and nothing else; or of calloc and free, or
 * reallocs of one block that stays where it is. On a thread of their own: where valgrind puts the first
 * one's stack, the kernel knows of none.
 *
 *   pairs COUNT [WAY]     WAY: 0 malloc, 1 calloc, 2 realloc
 */
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"

static unsigned long pairs, way;

static void *work(void *unused) {
    if (way == 2) {
        char *volatile block = NULL;
        for (unsigned long i = 0; i < pairs; i++)
            block = realloc(block, 64);
        free(block);
        return unused;
    }
    for (unsigned long i = 0; i < pairs; i++) {
        char *volatile block = way == 1 ? calloc(1, 64) : malloc(64);
        *block = 1;
        free(block);
    }
    return unused;
}

int main(int count, char **arguments) {
    pthread_t thread;
    pairs = argument(count, arguments, 1, 0);
    way = argument(count, arguments, 2, 0);
    if (pthread_create(&thread, NULL, work, NULL) != 0)
        return 2;
    pthread_join(thread, NULL);
    return 0;
}
