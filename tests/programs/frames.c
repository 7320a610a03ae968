/* Allocations from code that unwinders find hard: coroutines whose stacks come and go, handlers on
 * a stack of their own, threads with small stacks, code made at run time, objects that are loaded
 * and unloaded, unwind data that are wrong, all that behind a filter on system calls, and more ways
 * to one place than a table has room for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define APART __attribute__((noinline))

APART static int deep(int depth) {
    void *block = malloc((size_t)depth + 1);
    int result = depth ? deep(depth - 1) + 1 : 0;
    free(block);
    return result;
}

/* Each of them on a mapping of its own, which is gone before the next one is made. */
static ucontext_t here, there;

static void coroutine(void) {
    for (int i = 0; i < 4; i++) {
        deep(i * 3);
        swapcontext(&there, &here);
    }
}

APART static void coroutines(int rounds) {
    for (int i = 0; i < rounds; i++) {
        size_t bytes = 32768 + 4096 * (size_t)(i % 5);
        char *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&there);
        there.uc_stack.ss_sp = stack;
        there.uc_stack.ss_size = bytes;
        there.uc_link = &here;
        makecontext(&there, coroutine, 0);
        for (int step = 0; step < 5; step++) {
            swapcontext(&here, &there);
            deep(step);
        }
        munmap(stack, bytes);
    }
}

static void handler(int number) {
    (void)number;
    deep(5);
}

APART static void handlers(int rounds) {
    static char room[65536];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = 0;
    sigaction(SIGUSR2, &action, NULL);
    for (int i = 0; i < rounds; i++) {
        deep(i % 7);
        raise(i % 2 ? SIGUSR1 : SIGUSR2);
    }
}

static void *small(void *depth) {
    deep((int)(intptr_t)depth);
    return NULL;
}

APART static void threads(int rounds) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 32768);
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, small, (void *)(intptr_t)(i % 40)) == 0)
            pthread_join(thread, NULL);
    }
}

/* push %rbx; mov %rdi, %rax; mov $24, %edi; call *%rax; pop %rbx; ret: nobody can unwind it. */
APART static void made_at_run_time(int rounds) {
    static const unsigned char code[] = {0x53, 0x48, 0x89, 0xf8, 0xbf, 0x18, 0, 0, 0, 0xff, 0xd0, 0x5b, 0xc3};
    for (int i = 0; i < rounds; i++) {
        unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(page + i % 100, code, sizeof code);
        void *(*function)(void *(*)(size_t)) = (void *(*)(void *(*)(size_t)))(uintptr_t)(page + i % 100);
        for (int j = 0; j < 3; j++)
            free(function(malloc));
        munmap(page, 4096);
    }
}

/* The library has `int work(int)`, which allocates; two builds of it differ in their frames. */
APART static void loaded(int rounds, const char *first, const char *second) {
    for (int i = 0; i < rounds; i++) {
        void *library = dlopen(i % 2 ? first : second, RTLD_NOW);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            exit(1);
        }
        int (*work)(int) = (int (*)(int))(uintptr_t)dlsym(library, "work");
        work(i % 10);
        dlclose(library);
    }
}

/* The same block by another way each time: at each depth one of two calls. */
enum { TURNS = 20 };

APART static void *innermost(void) {
    return malloc(24);
}

APART static void *turn(uint32_t ways, int depth) {
    void *block;
    if (depth == 0)
        block = innermost();
    else if (ways >> depth & 1)
        block = turn(ways, depth - 1);
    else
        block = turn(ways, depth - 1);
    __asm__ volatile("" : "+r"(block));
    return block;
}

APART static void many_ways(int rounds) {
    for (int i = 0; i < rounds; i++)
        free(turn((uint32_t)i * 0x9e3779b9u >> 8, TURNS));
}

/* Unwind data that say nonsense: the frame ends where rbp says, and that is any value. */
void *wrong(uintptr_t bp);
__asm__(".text\n"
        ".globl wrong\n"
        "wrong:\n"
        ".cfi_startproc\n"
        "push %rbp\n"
        ".cfi_def_cfa rbp, 16\n"
        ".cfi_offset rbp, -16\n"
        "mov %rdi, %rbp\n"
        "mov $24, %edi\n"
        "call malloc@plt\n"
        "pop %rbp\n"
        "ret\n"
        ".cfi_endproc\n");

APART static void nonsense(int rounds) {
    volatile uintptr_t anything[64];
    for (int i = 0; i < 64; i++)
        anything[i] = (uintptr_t)i * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < rounds; i++) {
        uintptr_t values[] = {
            0, 8, (uintptr_t)-8, (uintptr_t)-16, (uintptr_t)&anything[i % 40],
            (uintptr_t)&anything[i % 40] + 3, (uintptr_t)&anything | 1ul << 47,
            (uintptr_t)&nonsense, 0x7fffffffe000, (uintptr_t)i * 0x9e3779b97f4a7c15u,
            (uintptr_t)&anything + 4096 * (uintptr_t)(i % 64), 0xffffffffff600000,
        };
        free(wrong(values[(size_t)i % (sizeof values / sizeof *values)]));
    }
}

/* From here on all but the most needed calls end the process. */
static void filtered(void) {
#define ALLOW(call) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(write), ALLOW(exit_group), ALLOW(brk), ALLOW(futex),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    /* The allocator's own first steps. */
    free(malloc(1));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    int rounds = count > 2 ? atoi(arguments[2]) : 100;
    if (strcmp(mode, "coroutines") == 0)
        coroutines(rounds);
    else if (strcmp(mode, "handlers") == 0)
        handlers(rounds);
    else if (strcmp(mode, "threads") == 0)
        threads(rounds);
    else if (strcmp(mode, "made") == 0)
        made_at_run_time(rounds);
    else if (strcmp(mode, "loaded") == 0 && count > 4)
        loaded(rounds, arguments[3], arguments[4]);
    else if (strcmp(mode, "many") == 0)
        many_ways(rounds);
    else if (strcmp(mode, "nonsense") == 0)
        nonsense(rounds);
    else if (strcmp(mode, "filtered") == 0) {
        filtered();
        nonsense(rounds);
        for (int i = 0; i < rounds; i++)
            deep(i);
    } else
        return 2;
    static const char done[] = "done\n";
    return write(1, done, sizeof done - 1) == sizeof done - 1 ? 0 : 1;
}
