/* A program that gives up most system calls, and goes on: threads, stacks of many kinds, blocks
 * that come and go and stay, mappings, a profiler's handler. Known counts from the filter on.
 *
 *   sandbox HOW WAY
 *   sandbox loading|service|childless WAY then PROGRAM ARGUMENTS...
 *
 * HOW: few      every call that is not in a short list kills the process
 *      caller   every call from code of the tracer's traps, and is counted
 *      strict   SECCOMP_MODE_STRICT: read, write, exit and nothing else
 *      question asks for filters as libraries do to find out what the kernel knows, and has none
 *      refused  asks for a filter that the kernel refuses
 *      alone    as few, without threads and profiler
 * WAY: prctl | seccomp (by syscall(2)) | fork (prctl in a child, before it does anything else)
 *      unseen (by an instruction of its own)
 *
 * A program that is started behind its filter (then) may do what loading takes, or all but what
 * services are often forbidden (childless: and to wait for children); else it is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "answer.h"

enum { THREADS = 4, SLOTS = 256, KEPT = 4000, CHURN = 40000, DEEPEST = 40 };

static atomic_ulong allocs, frees, trapped, ticks;
static atomic_int first_trapped = -1;
static void *kept[KEPT];
static int alone;

static void on_trap(int signal, siginfo_t *info, void *context) {
    (void)signal;
    int none = -1;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
    atomic_fetch_add(&trapped, 1);
    atomic_compare_exchange_strong(&first_trapped, &none, info->si_syscall);
}

/* Maps and unmaps, as glibc's malloc must not be entered again. */
static void on_tick(int signal) {
    (void)signal;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED)
        munmap(page, 4096);
    ticks++;
}

static int note_tracer(struct dl_phdr_info *object, size_t size, void *into) {
    (void)size;
    if (strstr(object->dlpi_name, "libfragtrace") == NULL)
        return 0;
    uint64_t *range = into;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X) {
            range[0] = object->dlpi_addr + part->p_vaddr;
            range[1] = range[0] + part->p_memsz;
        }
    }
    return 1;
}

static int install(const char *way, struct sock_fprog *filter) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    if (strcmp(way, "unseen") == 0) {
        long result;
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(SYS_seccomp), "D"(SECCOMP_SET_MODE_FILTER), "S"(0), "d"(filter)
                         : "rcx", "r11", "memory");
        return (int)result;
    }
    if (strcmp(way, "seccomp") == 0)
        return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter);
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)

/* Calls of the list are allowed and all others kill, or the other way round. */
static int sort_out(const char *way, const int *list, size_t count, unsigned listed, unsigned others) {
    struct sock_filter code[64] = {LOAD(nr)};
    for (size_t i = 0; i < count; i++)
        code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)list[i],
                                                   (unsigned char)(count - i), 0);
    code[1 + count] = (struct sock_filter)ANSWER(others);
    code[2 + count] = (struct sock_filter)ANSWER(listed);
    return install(way, &(struct sock_fprog){.len = (unsigned short)(3 + count), .filter = code});
}

static int allow_few(const char *way) {
    static const int few[] = {
        SYS_brk,    SYS_mmap,            SYS_munmap,         SYS_mprotect,     SYS_madvise,
        SYS_clone,  SYS_clone3,          SYS_futex,          SYS_exit,         SYS_exit_group,
        SYS_rseq,   SYS_set_robust_list, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_write,
        SYS_mremap, SYS_rt_sigaction,    SYS_sched_getaffinity,
    };
    return sort_out(way, few, sizeof few / sizeof *few, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
}

/* What the loader needs, and a program that writes a line. */
static int allow_loading(const char *way) {
    static const int few[] = {
        SYS_execve,  SYS_brk,             SYS_access,     SYS_openat,          SYS_fstat,
        SYS_close,   SYS_newfstatat,      SYS_mmap,       SYS_munmap,          SYS_mprotect,
        SYS_read,    SYS_arch_prctl,      SYS_pread64,    SYS_set_tid_address, SYS_rseq,
        SYS_write,   SYS_set_robust_list, SYS_prlimit64,  SYS_getrandom,       SYS_exit_group,
        SYS_clone,
    };
    return sort_out(way, few, sizeof few / sizeof *few, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
}

/* What services are often forbidden: to debug, to ask devices. */
static int forbid_debugging(const char *way, int childless) {
    static const int none[] = {SYS_process_vm_readv, SYS_ptrace,    SYS_ioctl,
                               SYS_kill,             SYS_fallocate, SYS_wait4};
    return sort_out(way, none, sizeof none / sizeof *none - (size_t)!childless, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
}

static int trap_tracer(const char *way) {
    uint64_t range[2] = {0, 0};
    dl_iterate_phdr(note_tracer, range);
    uint32_t low = (uint32_t)range[0], high = (uint32_t)(range[0] >> 32);
    uint32_t end = range[0] >> 32 == range[1] >> 32 ? (uint32_t)range[1] : UINT32_MAX;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, low, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, end, 1, 0),
        ANSWER(SECCOMP_RET_TRAP),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSYS, &action, NULL);
    return install(way, &(struct sock_fprog){.len = sizeof code / sizeof *code, .filter = code});
}

/* None of these installs anything. */
static void ask(void) {
    syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL);
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL);
    errno = 0;
}

static void be_refused(void) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4096), ANSWER(SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {.len = 2, .filter = code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    answer("refused", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0 && errno == EINVAL);
}

static __attribute__((noinline)) void *take(size_t size, int depth) {
    if (depth > 0) {
        void *block = take(size, depth - 1);
        __asm__ volatile("" : : "r"(block) : "memory");
        return block;
    }
    char *block = malloc(size);
    if (block == NULL)
        _exit(90);
    block[0] = block[size - 1] = 1;
    atomic_fetch_add(&allocs, 1);
    return block;
}

static void give(void *block) {
    free(block);
    atomic_fetch_add(&frees, 1);
}

static void *churn(void *which) {
    void *slots[SLOTS] = {0};
    unsigned long first = (unsigned long)(uintptr_t)which;
    for (unsigned long i = 0; i < CHURN; i++) {
        void **slot = &slots[(first + i * 7) % SLOTS];
        if (*slot)
            give(*slot);
        *slot = take(1 + i * 31 % 900, (int)(i % DEEPEST));
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i])
            give(slots[i]);
    return NULL;
}

/* What a sandboxed program does all its life. */
static void work(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < KEPT; i++)
        kept[i] = take(24 + (size_t)i % 300, i % DEEPEST);
    for (uintptr_t i = 0; i < THREADS && !alone; i++)
        if (pthread_create(&threads[i], NULL, churn, (void *)i) != 0)
            _exit(91);
    churn(NULL);
    for (int i = 0; i < THREADS && !alone; i++)
        pthread_join(threads[i], NULL);
    /* One after another, each with its own beginning. */
    for (int i = 0; i < 20 && !alone; i++) {
        if (pthread_create(&threads[0], NULL, churn, NULL) != 0)
            _exit(92);
        pthread_join(threads[0], NULL);
    }
    give(take(600000, 3));
    for (int i = 0; i < KEPT / 2; i++)
        give(kept[i]);
}

/* Strict mode forbids even brk: what is taken was there before. */
static void work_strictly(void) {
    for (int i = 0; i < 20000; i++)
        give(take(100 + (size_t)i % 500, i % DEEPEST));
    for (int i = 0; i < 100; i++)
        kept[i] = take(200, i % DEEPEST);
}

static void tell(void) {
    answer("allocs", allocs);
    answer("frees", frees);
    answer("trapped", trapped);
    answer("first_trapped", (uint64_t)(first_trapped + 1));
    flush_answers();
}

static int run(const char *how, const char *way) {
    if (strcmp(how, "strict") == 0) {
        void *room = malloc(100000);
        void *top = malloc(24);
        free(room);
        allocs = 2;
        frees = 1;
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
            return 93;
        work_strictly();
        tell();
        syscall(SYS_exit, top == NULL);
    }
    /* Where the heap begins glibc asks for a random number, and with threads for processors. */
    free(malloc(1));
    if ((strcmp(how, "few") == 0 || alone) && allow_few(way) != 0)
        return 94;
    if (strcmp(how, "caller") == 0 && trap_tracer(way) != 0)
        return 95;
    if (strcmp(how, "question") == 0)
        ask();
    if (strcmp(how, "refused") == 0)
        be_refused();
    work();
    tell();
    return 0;
}

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    const char *how = arguments[1], *way = arguments[2];
    if (count > 4) {
        /* The filter is the next program's, too. */
        int childless = strcmp(how, "childless") == 0;
        if (strcmp(how, "loading") == 0 ? allow_loading(way) : forbid_debugging(way, childless))
            return 96;
        execv(arguments[4], arguments + 4);
        return 97;
    }
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    alone = strcmp(how, "alone") == 0;
    if (strcmp(how, "strict") != 0 && !alone)
        setitimer(ITIMER_PROF, &every, NULL);
    if (strcmp(way, "fork") != 0)
        return run(how, way);
    pid_t child = fork();
    if (child == 0) {
        if (!alone)
            setitimer(ITIMER_PROF, &every, NULL);
        return run(how, way);
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        return 98;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}
