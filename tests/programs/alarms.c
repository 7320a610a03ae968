/* Threads that take and give back blocks while an alarm interrupts each of them every 100
 * microseconds, at any instruction; the handler does the same. Known counts.
 *
 *   alarms THREADS PAIRS [HOW...]
 *
 * HOW: malloc   the handler takes and gives back blocks (the allocator must allow it)
 *      mmap     the handler maps and unmaps a page
 *      nest     the handler is interrupted by another in the middle of that
 *      jump     the handler jumps out of what it interrupted, each time until half is done (the
 *               allocator must allow it)
 *      altstack the handler has a stack of its own
 *      tiny     threads have stacks of 16 KiB
 *      profile  the whole process is interrupted a thousand times a second of its run time; that
 *               handler walks the stack of what it interrupts
 *      blocked  threads keep all signals to themselves for later
 *
 * A thread goes on until it was interrupted often enough. Blocks of LAST_BYTES are taken only
 * after the last jump. */
#define _GNU_SOURCE
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "answer.h"

enum { MOST_THREADS = 64, ALARMS = 500, SLOTS = 64, LAST = 1000, LAST_BYTES = 7777, INTERVAL_NS = 100000 };

static int with_malloc, with_mmap, with_nest, with_jump, with_altstack, tiny, profile, blocked;
static unsigned long pairs;
static atomic_ulong allocs, frees, mmaps, munmaps, jumps, walks;
static __thread volatile unsigned long alarms_seen;
static __thread volatile sig_atomic_t may_jump;
static __thread sigjmp_buf before;

static void *take(size_t size) {
    char *block = malloc(size);
    if (block == NULL)
        abort();
    block[0] = block[size - 1] = 1;
    atomic_fetch_add(&allocs, 1);
    return block;
}

static void give(void *block) {
    free(block);
    atomic_fetch_add(&frees, 1);
}

static void work_in_handler(int deeper) {
    size_t size = 16 + alarms_seen % 700;
    void *block = with_malloc ? take(size) : NULL;
    void *page = MAP_FAILED;
    if (with_mmap) {
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        atomic_fetch_add(&mmaps, 1);
    }
    if (deeper)
        raise(SIGUSR1);
    if (page != MAP_FAILED) {
        munmap(page, 4096);
        atomic_fetch_add(&munmaps, 1);
    }
    if (block)
        give(block);
}

static void on_alarm(int signal) {
    (void)signal;
    alarms_seen++;
    work_in_handler(with_nest);
    if (may_jump) {
        /* The next alarm may come before this stack is left. */
        may_jump = 0;
        atomic_fetch_add(&jumps, 1);
        siglongjmp(before, 1);
    }
}

static void on_second(int signal) {
    (void)signal;
    work_in_handler(0);
}

static void on_profile(int signal) {
    void *frames[32];
    (void)signal;
    if (backtrace(frames, 32) > 0)
        atomic_fetch_add(&walks, 1);
}

static void start_profile(void) {
    void *frames[32];
    struct sigaction action = {.sa_handler = on_profile, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 1000}, {0, 1000}};
    /* It loads a library when it is first called. */
    if (backtrace(frames, 32) <= 0 || sigaction(SIGPROF, &action, NULL) != 0 ||
        setitimer(ITIMER_PROF, &every, NULL) != 0)
        abort();
}

static timer_t start_alarm(void) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    struct itimerspec every = {{0, INTERVAL_NS}, {0, INTERVAL_NS}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &every, NULL))
        abort();
    return timer;
}

static void churn(unsigned long count) {
    void *slots[SLOTS] = {0};
    for (unsigned long i = 0; i < count; i++) {
        void **slot = &slots[i * 7 % SLOTS];
        if (*slot)
            give(*slot);
        *slot = take(1 + i * 31 % 900);
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i])
            give(slots[i]);
}

static void *work(void *unused) {
    static char stacks[MOST_THREADS][1 << 14];
    static atomic_int next;
    stack_t alternate = {.ss_sp = stacks[next++], .ss_size = sizeof stacks[0]};
    if (with_altstack)
        sigaltstack(&alternate, NULL);
    sigset_t all;
    sigfillset(&all);
    if (blocked)
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    timer_t timer = start_alarm();
    if (with_jump) {
        sigsetjmp(before, 1);
        /* Some of what was interrupted in the middle is lost to the program, too. */
        while (alarms_seen < ALARMS) {
            may_jump = 1;
            churn(1000);
            may_jump = 0;
        }
        may_jump = 0;
    }
    do
        churn(pairs);
    while (!blocked && !profile && alarms_seen < 2 * ALARMS);
    while (profile && walks < ALARMS)
        churn(1000);
    timer_delete(timer);
    for (int i = 0; i < LAST; i++)
        give(take(LAST_BYTES));
    return unused;
}

int main(int count, char **arguments) {
    unsigned long threads = argument(count, arguments, 1, 1);
    pairs = argument(count, arguments, 2, 10000);
    for (int i = 3; i < count; i++) {
        with_malloc |= strcmp(arguments[i], "malloc") == 0;
        with_mmap |= strcmp(arguments[i], "mmap") == 0;
        with_nest |= strcmp(arguments[i], "nest") == 0;
        with_jump |= strcmp(arguments[i], "jump") == 0;
        with_altstack |= strcmp(arguments[i], "altstack") == 0;
        tiny |= strcmp(arguments[i], "tiny") == 0;
        profile |= strcmp(arguments[i], "profile") == 0;
        blocked |= strcmp(arguments[i], "blocked") == 0;
    }
    struct sigaction action = {.sa_handler = on_alarm};
    action.sa_flags = SA_RESTART | (with_altstack ? SA_ONSTACK : 0);
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = on_second;
    sigaction(SIGUSR1, &action, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (tiny && pthread_attr_setstacksize(&attributes, 16384) != 0)
        return 3;
    if (profile)
        start_profile();
    pthread_t handles[MOST_THREADS];
    if (threads > MOST_THREADS)
        return 2;
    for (unsigned long i = 0; i < threads; i++)
        if (pthread_create(&handles[i], &attributes, work, NULL) != 0)
            return 4;
    for (unsigned long i = 0; i < threads; i++)
        pthread_join(handles[i], NULL);
    answer("allocs", allocs);
    answer("frees", frees);
    answer("mmaps", mmaps);
    answer("munmaps", munmaps);
    answer("jumps", jumps);
    answer("walks", walks);
    answer("last", LAST * threads);
    flush_answers();
    return 0;
}
