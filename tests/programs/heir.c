/* A parent whose heap has holes, and a child of fork that goes on with it: fills the holes, grows, and
 * frees most of it again. */
#include <stdlib.h>
#include <sys/wait.h>

#include "answer.h"

enum { COUNT = 10000, BYTES = 2000, LARGER = 5000, REST_US = 200000 };

static char *of_parent[COUNT], *of_child[COUNT];

#define filled(size) memset(malloc(size), 1, size)

static void child_works(void) {
    for (int i = 0; i < COUNT / 4; i++)
        of_child[i] = filled(BYTES);
    for (int i = COUNT / 4; i < COUNT; i++)
        of_child[i] = filled(LARGER);
    usleep(REST_US);
    for (int i = COUNT / 2; i < COUNT; i++)
        free(of_child[i]);
    usleep(REST_US);
    exit(0);
}

int main(void) {
    int status = 0;
    for (int i = 0; i < COUNT; i++)
        of_parent[i] = filled(BYTES);
    for (int i = 0; i < COUNT; i += 2)
        free(of_parent[i]);
    pid_t child = fork();
    if (child == 0)
        child_works();
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}
