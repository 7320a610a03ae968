// Operators that throw, deep and shallow, while an alarm interrupts every 100 microseconds and maps
// a page. Known counts.
//
//   throws PAIRS
#include <csignal>
#include <cstdlib>
#include <new>
#include <sys/mman.h>
#include <sys/time.h>

extern "C" {
#include "answer.h"
}

namespace {

// More than any address space.
const size_t FAR_TOO_MUCH = size_t{1} << 50;
volatile size_t too_much = FAR_TOO_MUCH;
unsigned long news, deletes, throws;
volatile unsigned long alarms;

void on_alarm(int) {
    void *page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED)
        munmap(page, 4096);
    alarms = alarms + 1;
}

struct Holder {
    char *block;
    explicit Holder(size_t size) : block(new char[size]) { news++; }
    ~Holder() {
        delete[] block;
        deletes++;
    }
};

__attribute__((noinline)) void fail(int depth) {
    Holder holder(static_cast<size_t>(depth) + 16);
    if (depth > 0) {
        fail(depth - 1);
    } else {
        throws++;
        char *volatile never = new char[too_much];
        delete[] never;
    }
}

} // namespace

int main(int count, char **arguments) {
    unsigned long pairs = argument(count, arguments, 1, 1000);
    struct sigaction action = {};
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    struct itimerval every = {{0, 100}, {0, 100}};
    if (pairs)
        setitimer(ITIMER_REAL, &every, nullptr);
    for (unsigned long i = 0; i < pairs; i++) {
        try {
            fail(static_cast<int>(i % 20));
        } catch (const std::bad_alloc &) {
            Holder holder(100);
        }
    }
    every = {};
    setitimer(ITIMER_REAL, &every, nullptr);
    // The library takes a block for each exception.
    answer("allocs", news + throws);
    answer("frees", deletes + throws);
    answer("alarms", alarms > 10);
    flush_answers();
    return 0;
}
