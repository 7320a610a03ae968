/* Gives up its user, its root directory or its descriptors, and then takes so many blocks that a
 * trace has to grow several times. Known counts.
 *
 *   leaves STEP...     each of setuid, setresuid, seteuid, syscall (setresuid without libc's
 *                      function), chroot, close (all descriptors but the first three), cd,
 *                      descriptors (three at most from then on), prlimit (the same, by another
 *                      function)
 *   leaves ... fork STEP...  the rest, and the blocks, in a child; the parent takes none
 *   leaves ... child STEP... the same, in a child that takes none either before these steps
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "answer.h"

enum { NOBODY = 65534, PAIRS = 400000, KEPT = 100 };

static void *kept[KEPT];

static int leave(const char *how) {
    if (strcmp(how, "setuid") == 0)
        return setuid(NOBODY);
    if (strcmp(how, "setresuid") == 0)
        return setresuid(NOBODY, NOBODY, NOBODY);
    if (strcmp(how, "seteuid") == 0)
        return seteuid(NOBODY);
    if (strcmp(how, "syscall") == 0)
        return (int)syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);
    if (strcmp(how, "chroot") == 0)
        return chroot("/proc/self/fdinfo");
    if (strcmp(how, "descriptors") == 0)
        return setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
    if (strcmp(how, "prlimit") == 0)
        return prlimit(0, RLIMIT_NOFILE, &(struct rlimit){0, 0}, NULL);
    if (strcmp(how, "cd") == 0)
        return chdir("/");
    if (strcmp(how, "close") == 0) {
        for (int fd = 3; fd < 4096; fd++)
            close(fd);
        return 0;
    }
    return -1;
}

static void work(void) {
    for (int i = 0; i < KEPT; i++)
        kept[i] = malloc(1000);
    for (int i = 0; i < PAIRS; i++)
        free(malloc(100));
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "fork") == 0 || strcmp(arguments[i], "child") == 0) {
            int status;
            pid_t pid = fork();
            if (pid != 0) {
                waitpid(pid, &status, 0);
                return WEXITSTATUS(status);
            }
            /* The child's own trace begins here. */
            if (strcmp(arguments[i], "fork") == 0)
                free(kept[0] = malloc(10));
        } else if (leave(arguments[i]) != 0) {
            return 2;
        }
    }
    work();
    answer("allocs", KEPT + PAIRS);
    answer("frees", PAIRS);
    answer("live_blocks", KEPT);
    flush_answers();
    return 0;
}
