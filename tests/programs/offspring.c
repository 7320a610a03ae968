/* A parent with a known count, and children that come about in uncommon ways.
 *
 *   offspring _Fork | clone       a child with a copy of the memory, by no hook of fork
 *   offspring tiny                a child of a thread that has 16 KiB of stack
 *   offspring shared | vfork      a child in its parent's memory, which allocates there
 *   offspring popen | system      a shell
 *   offspring FUNCTION PATH       a child that fails to become another program by this function of
 *                                 the family of exec, and works on
 *   offspring daemon              the first process ends inside of daemon(3)
 *   offspring exec PROGRAM ...    a child that becomes another program
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "answer.h"

enum { IN_PARENT = 500, KEPT = 200, IN_CHILD = 1000, KEPT_IN_CHILD = 77, STATUS = 33 };

static char *blocks[IN_PARENT], *of_child[IN_CHILD];

static void work(void) {
    for (int i = 0; i < IN_CHILD; i++)
        of_child[i] = malloc(64);
    for (int i = KEPT_IN_CHILD; i < IN_CHILD; i++)
        free(of_child[i]);
}

static int work_in_shared_memory(void *unused) {
    (void)unused;
    work();
    _exit(STATUS);
}

static int ended(pid_t child) {
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 254;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void try_to_become(const char *function, char *program) {
    char *arguments[] = {program, NULL};
    if (strcmp(function, "execv") == 0)
        execv(program, arguments);
    else if (strcmp(function, "execve") == 0)
        execve(program, arguments, environ);
    else if (strcmp(function, "execvp") == 0)
        execvp(program, arguments);
    else if (strcmp(function, "execvpe") == 0)
        execvpe(program, arguments, environ);
    else if (strcmp(function, "execl") == 0)
        execl(program, program, "1", "2", "3", "4", "5", "6", "7", (char *)NULL);
    else if (strcmp(function, "execle") == 0)
        execle(program, program, "1", "2", "3", "4", "5", "6", (char *)NULL, environ);
    else if (strcmp(function, "execlp") == 0)
        execlp(program, program, "1", (char *)NULL);
    else if (strcmp(function, "fexecve") == 0)
        fexecve(open(program, O_PATH), arguments, environ);
    else
        _exit(97);
}

static int fails(const char *function, char *program) {
    pid_t child = fork();
    if (child == 0) {
        free(malloc(100));
        for (int i = 0; i < 3; i++)
            try_to_become(function, program);
        work();
        exit(STATUS);
    }
    return ended(child);
}

static int become(char **arguments) {
    pid_t child = fork();
    if (child == 0) {
        execv(arguments[0], arguments);
        _exit(126);
    }
    return ended(child);
}

static void *fork_here(void *child) {
    *(pid_t *)child = fork();
    if (*(pid_t *)child == 0) {
        work();
        exit(STATUS);
    }
    return NULL;
}

static pid_t fork_on_a_tiny_stack(void) {
    static char stack[16 << 10] __attribute__((aligned(4096)));
    pthread_attr_t tiny;
    pthread_t thread;
    pid_t child = -1;
    pthread_attr_init(&tiny);
    if (pthread_attr_setstack(&tiny, stack, sizeof stack) == 0 &&
        pthread_create(&thread, &tiny, fork_here, &child) == 0)
        pthread_join(thread, NULL);
    return child;
}

static int status_of(const char *how, char **arguments) {
    static char stack[1 << 16] __attribute__((aligned(16)));
    pid_t child = -1;
    if (strcmp(how, "_Fork") == 0) {
        child = _Fork();
        if (child == 0) {
            work();
            exit(STATUS);
        }
    } else if (strcmp(how, "clone") == 0) {
        child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            work();
            exit(STATUS);
        }
    } else if (strcmp(how, "tiny") == 0) {
        child = fork_on_a_tiny_stack();
    } else if (strcmp(how, "shared") == 0) {
        child = clone(work_in_shared_memory, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    } else if (strcmp(how, "vfork") == 0) {
        child = vfork();
        if (child == 0) {
            work();
            _exit(STATUS);
        }
    } else if (strcmp(how, "popen") == 0) {
        char line[100] = "";
        FILE *pipe = popen("echo from the shell; exit 33", "r");
        if (pipe == NULL || fgets(line, sizeof line, pipe) == NULL)
            return 253;
        put_text(line);
        return WEXITSTATUS(pclose(pipe));
    } else if (strcmp(how, "system") == 0) {
        return WEXITSTATUS(system("exit 33"));
    } else if (strcmp(how, "exec") == 0) {
        return become(arguments);
    } else {
        return fails(how, arguments[0]);
    }
    return ended(child);
}

int main(int count, char **arguments) {
    if (count < 2)
        return 99;
    for (int i = 0; i < IN_PARENT; i++)
        blocks[i] = malloc(200);
    for (int i = KEPT; i < IN_PARENT; i++)
        free(blocks[i]);
    if (strcmp(arguments[1], "daemon") == 0) {
        if (daemon(1, 1) != 0)
            return 98;
        work();
        return 0;
    }
    answer("status", (uint64_t)status_of(arguments[1], arguments + 2));
    answer("allocs", IN_PARENT);
    answer("frees", IN_PARENT - KEPT);
    answer("child_allocs", IN_CHILD);
    answer("child_frees", IN_CHILD - KEPT_IN_CHILD);
    flush_answers();
    return 0;
}
