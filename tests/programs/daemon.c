/* A daemon, its child and its grandchild, each with a heap that follows from its parent's. Their
 * numbers go to stdout, on one line.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "answer.h"

enum { BLOCKS = 100 };

static void *volatile blocks[BLOCKS];
static void *volatile more;

static void say(pid_t pid) {
    char line[24];
    int at = sizeof line;
    line[--at] = ' ';
    for (; pid; pid /= 10)
        line[--at] = (char)('0' + pid % 10);
    if (write(1, line + at, sizeof line - (size_t)at) < 0)
        _exit(1);
}

static void release(void) {
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

static void grandchild(void) {
    more = malloc(77);
    say(getpid());
    _exit(0);
}

static void child(void) {
    say(getpid());
    release();
    pid_t pid = fork();
    if (pid == 0)
        grandchild();
    waitpid(pid, NULL, 0);
    _exit(0);
}

int main(void) {
    int ready[2];
    char byte;
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(1000);
    /* The first process waits for the daemon's end, which daemon(3) would not. */
    if (pipe(ready) != 0)
        return 1;
    pid_t pid = fork();
    if (pid != 0) {
        close(ready[1]);
        while (read(ready[0], &byte, 1) > 0) {
        }
        _exit(0);
    }
    if (daemon(0, 1) != 0)
        return 1;
    say(getpid());
    for (int i = 0; i < BLOCKS / 2; i++) {
        free(blocks[i]);
        blocks[i] = malloc(2000);
    }
    for (int i = 0; i < 20; i++)
        more = malloc(500);
    pid = fork();
    if (pid == 0)
        child();
    waitpid(pid, NULL, 0);
    return 0;
}
