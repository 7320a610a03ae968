/* Threads that allocate as fast as they can, while the first one forks: each child goes on with
 * the blocks that it has, and says at its end what is live, as far as it can know.
 *
 *   forks THREADS CHILDREN EVENTS [PAUSE]
 *   forks late EVENTS      one child, which begins after so many events of a later thread, and has
 *                          a child of its own
 *   forks stopped CALL     one child, whose parent works on while it is stopped at its first system
 *                          call of this kind (openat: that makes a file; fallocate)
 *   forks short            one child, whose parent may not have a larger file for a while
 *
 * With PAUSE the threads sleep for so many microseconds after 64 events each.
 *
 * A line a child on stdout: its number, and the least and the most that can be live in bytes.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { MOST_THREADS = 32, SLOTS = 512, AT_ONCE = 4 };

struct block {
    void *at;
    size_t size;
};

/* What a thread has. `changing` is the size of the block that it acquires or releases now. */
struct account {
    struct block slots[SLOTS];
    _Atomic size_t changing;
    uint64_t random;
    char padding[128];
};

static struct account accounts[MOST_THREADS + 1];
static int threads, pause_us;
static atomic_int stop;

static uint64_t next_random(struct account *mine) {
    mine->random ^= mine->random << 13;
    mine->random ^= mine->random >> 7;
    mine->random ^= mine->random << 17;
    return mine->random;
}

static void change(struct account *mine) {
    uint64_t random = next_random(mine);
    struct block *slot = &mine->slots[random % SLOTS];
    size_t size = slot->at ? slot->size : 16 + (random >> 20) % (random & 1 << 16 ? 3000 : 200);
    atomic_store(&mine->changing, size);
    if (slot->at) {
        void *at = slot->at;
        slot->at = NULL;
        atomic_thread_fence(memory_order_seq_cst);
        free(at);
    } else {
        void *at = malloc(size);
        *(volatile char *)at = 1;
        slot->size = size;
        atomic_thread_fence(memory_order_seq_cst);
        slot->at = at;
    }
    atomic_store(&mine->changing, 0);
}

static void *work(void *mine) {
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (int i = 0; i < 64; i++)
            change(mine);
        if (pause_us)
            usleep((useconds_t)pause_us);
    }
    return NULL;
}

static void *work_a_while(void *events) {
    for (int i = 0; i < *(int *)events; i++)
        change(&accounts[1]);
    return NULL;
}

/* A line on what is live in this process. */
static void tell(void) {
    size_t least = 0, uncertain = 0;
    for (int thread = 0; thread <= threads; thread++) {
        struct account *account = &accounts[thread];
        uncertain += 2 * atomic_load(&account->changing);
        for (int i = 0; i < SLOTS; i++)
            least += account->slots[i].at ? account->slots[i].size : 0;
    }
    size_t changing = uncertain / 2;
    char line[100];
    int length = snprintf(line, sizeof line, "%d %zu %zu\n", (int)getpid(),
                          least > changing ? least - changing : 0, least + changing);
    if (write(1, line, (size_t)length) != length)
        abort();
}

static void child(int events) {
    for (int i = 0; i < events; i++)
        change(&accounts[0]);
    tell();
    _exit(0);
}

/* Fills the accounts of threads that are not there with blocks that stay. */
static void keep_many(int accounts_filled) {
    threads = accounts_filled;
    for (int thread = 1; thread <= threads; thread++)
        for (int i = 0; i < SLOTS; i++) {
            struct block *slot = &accounts[thread].slots[i];
            slot->at = malloc(slot->size = 100);
            *(volatile char *)slot->at = 1;
        }
}

static int is_at(pid_t pid, long call) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) != 0)
        exit(8);
    return (long)registers.orig_rax == call && (call != SYS_openat || registers.rdx & O_CREAT);
}

/* A child that is stopped while it takes over, in the middle of which its parent does so much that
 * a small ring gives back what was live before the fork, and nothing newer. */
static int stop_at(long call) {
    int status;
    accounts[0].random = 88172645463325252u;
    for (int i = 0; i < 40000; i++)
        change(&accounts[0]);
    keep_many(24);
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(5);
        raise(SIGSTOP);
        child(1);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return 6;
    do {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid ||
            !WIFSTOPPED(status))
            return 7;
    } while (!is_at(pid, call));
    for (int i = 0; i < 6000; i++)
        change(&accounts[0]);
    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid)
        return 9;
    tell();
    return status;
}

/* A child of a process of whose events some found no room. */
static int fall_short(void) {
    struct rlimit before, none;
    int status;
    getrlimit(RLIMIT_FSIZE, &before);
    none = (struct rlimit){1, before.rlim_max};
    accounts[0].random = 88172645463325252u;
    setrlimit(RLIMIT_FSIZE, &none);
    for (int i = 0; i < 4; i++)
        keep_many(MOST_THREADS);
    setrlimit(RLIMIT_FSIZE, &before);
    pid_t pid = fork();
    if (pid == 0)
        child(1);
    return waitpid(pid, &status, 0) == pid ? status : 7;
}

/* A child that does nothing until its parent, on a thread begun after the fork, has done so many
 * events, while the one that forked does none. */
static int begin_late(int events) {
    int go[2], status;
    char byte;
    pthread_t late;
    accounts[0].random = accounts[1].random = 88172645463325252u;
    for (int i = 0; i < 40000; i++)
        change(&accounts[0]);
    if (pipe(go) != 0)
        return 5;
    pid_t pid = fork();
    if (pid == 0) {
        if (read(go[0], &byte, 1) != 1)
            _exit(6);
        change(&accounts[0]);
        if (fork() != 0)
            wait(&status);
        child(1);
    }
    pthread_create(&late, NULL, work_a_while, &events);
    pthread_join(late, NULL);
    if (write(go[1], "", 1) != 1 || waitpid(pid, &status, 0) < 0)
        return 7;
    return status;
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "late") == 0)
        return begin_late(atoi(arguments[2]));
    if (count == 3 && strcmp(arguments[1], "stopped") == 0)
        return stop_at(strcmp(arguments[2], "openat") ? SYS_fallocate : SYS_openat);
    if (count == 2 && strcmp(arguments[1], "short") == 0)
        return fall_short();
    if (count < 4)
        return 2;
    pause_us = count > 4 ? atoi(arguments[4]) : 0;
    threads = atoi(arguments[1]);
    int children = atoi(arguments[2]), events = atoi(arguments[3]), running = 0, status;
    pthread_t handles[MOST_THREADS];
    if (threads > MOST_THREADS)
        return 2;
    for (int i = 0; i <= threads; i++)
        accounts[i].random = 88172645463325252u + (uint64_t)i * 7919;
    for (int i = 0; i < threads; i++)
        pthread_create(&handles[i], NULL, work, &accounts[i + 1]);
    /* Enough for a small ring to go round. */
    for (int i = 0; i < 40000; i++)
        change(&accounts[0]);
    for (int i = 0; i < children; i++) {
        for (int change_by = 0; change_by < 200; change_by++)
            change(&accounts[0]);
        pid_t pid = fork();
        if (pid == 0)
            child(events);
        if (pid < 0)
            return 3;
        if (++running == AT_ONCE) {
            if (wait(&status) < 0 || status != 0)
                return 4;
            running--;
        }
    }
    while (running-- > 0)
        if (wait(&status) < 0 || status != 0)
            return 4;
    atomic_store(&stop, 1);
    for (int i = 0; i < threads; i++)
        pthread_join(handles[i], NULL);
    return 0;
}
