/* Pairs of malloc and free that the thread's cache serves, and nothing else. On a thread of their
 * own: where valgrind puts the first one's stack, the kernel knows of none.
 *
 *   pairs COUNT
 */
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"

static unsigned long pairs;

static void *work(void *unused) {
    for (unsigned long i = 0; i < pairs; i++) {
        char *volatile block = malloc(64);
        *block = 1;
        free(block);
    }
    return unused;
}

int main(int count, char **arguments) {
    pthread_t thread;
    pairs = argument(count, arguments, 1, 0);
    if (pthread_create(&thread, NULL, work, NULL) != 0)
        return 2;
    pthread_join(thread, NULL);
    return 0;
}
