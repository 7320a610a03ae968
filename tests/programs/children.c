/* A parent with a known count and children of several kinds, each of which ends with a known
 * status.
 *
 *   children fork            a child that works on and takes blocks of its own
 *   children exec PROGRAM    fork and exec
 *   children vfork PROGRAM   vfork and exec
 *   children spawn PROGRAM   posix_spawn
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "answer.h"

enum { IN_PARENT = 500, KEPT_IN_PARENT = 200, IN_CHILD = 1000, KEPT_IN_CHILD = 77 };

extern char **environ;

static char *blocks[IN_PARENT], *of_child[IN_CHILD];

static void child_works(void) {
    for (int i = 0; i < IN_CHILD; i++)
        of_child[i] = malloc(64);
    for (int i = KEPT_IN_CHILD; i < IN_CHILD; i++)
        free(of_child[i]);
    exit(33);
}

static int ended(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static pid_t start_child(const char *how, char **program) {
    pid_t child = -1;
    if (strcmp(how, "fork") == 0) {
        child = fork();
        if (child == 0)
            child_works();
    } else if (strcmp(how, "exec") == 0) {
        child = fork();
        if (child == 0) {
            execv(program[0], program);
            _exit(126);
        }
    } else if (strcmp(how, "vfork") == 0) {
        child = vfork();
        if (child == 0) {
            execv(program[0], program);
            _exit(126);
        }
    } else if (posix_spawn(&child, program[0], NULL, NULL, program, environ) != 0) {
        _exit(125);
    }
    return child;
}

int main(int count, char **arguments) {
    if (count < 2)
        return 99;
    for (int i = 0; i < IN_PARENT; i++)
        blocks[i] = malloc(200);
    int status = ended(start_child(arguments[1], arguments + 2));
    for (int i = KEPT_IN_PARENT; i < IN_PARENT; i++)
        free(blocks[i]);
    answer("child_status", (uint64_t)status);
    answer("allocs", IN_PARENT);
    answer("frees", IN_PARENT - KEPT_IN_PARENT);
    answer("live_blocks", KEPT_IN_PARENT);
    answer("child_allocs", IN_CHILD);
    answer("child_kept", KEPT_IN_CHILD);
    flush_answers();
    return 0;
}
