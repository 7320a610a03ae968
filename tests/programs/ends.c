/* Takes 1,000 blocks, keeps 300, and ends in one of many ways.
 *
 *   ends return | exit | _exit | quick_exit | abort | segv | hang | thread_exit
 *   ends signal N          sends itself a signal
 *   ends exec PROGRAM ...  becomes another program
 *   ends fails PATH        does not, maps a page, and is killed
 *   ends handle            waits for SIGINT, then exits with 5
 *   ends wait              waits for SIGINT without handling it
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "answer.h"

enum { BLOCKS = 1000, KEPT = 300, BLOCK_BYTES = 100, STATUS = 7, PATIENCE_SECONDS = 100 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
    (void)signal;
    interrupted = 1;
}

static void take_blocks(void) {
    static char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        blocks[i][0] = 1;
    }
    for (int i = KEPT; i < BLOCKS; i++)
        free(blocks[i]);
    answer("allocs", BLOCKS);
    answer("frees", BLOCKS - KEPT);
    answer("live_blocks", KEPT);
    answer("live_bytes", KEPT * BLOCK_BYTES);
}

static void ready(void) {
    put_text("ready\n");
    flush_answers();
}

static void *end_all(void *unused) {
    exit(STATUS);
    return unused;
}

static void end_on_a_thread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, end_all, NULL);
    pthread_join(thread, NULL);
}

static void wait_for_interrupt(int handled) {
    if (handled)
        signal(SIGINT, on_interrupt);
    else
        signal(SIGINT, SIG_DFL);
    ready();
    for (int i = 0; i < PATIENCE_SECONDS * 10 && !interrupted; i++)
        usleep(100000);
    put_text(interrupted ? "interrupted\n" : "never interrupted\n");
    flush_answers();
    exit(5);
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "return";
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    take_blocks();
    if (strcmp(how, "handle") == 0 || strcmp(how, "wait") == 0)
        wait_for_interrupt(strcmp(how, "handle") == 0);
    ready();
    if (strcmp(how, "exit") == 0)
        exit(STATUS);
    if (strcmp(how, "_exit") == 0)
        _exit(STATUS);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(STATUS);
    if (strcmp(how, "thread_exit") == 0)
        end_on_a_thread();
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "segv") == 0)
        *(volatile int *)8 = 1;
    if (strcmp(how, "signal") == 0)
        raise((int)argument(count, arguments, 2, SIGTERM));
    if (strcmp(how, "exec") == 0)
        execv(arguments[2], arguments + 2);
    if (strcmp(how, "fails") == 0) {
        execv(arguments[2], arguments + 2);
        munmap(mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1);
        raise(SIGKILL);
    }
    if (strcmp(how, "hang") == 0)
        sleep(PATIENCE_SECONDS);
    return STATUS;
}
