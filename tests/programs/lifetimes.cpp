// Blocks that come before main and go after it: static objects, objects of threads, handlers at
// exit, and a handler of SIGABRT.
//
//   lifetimes return | exit | quick_exit | _exit | abort | thread
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

// Long enough to be blocks of their own.
const char *const TEXT = "a string that does not fit into the object itself";

struct Registry {
    std::map<std::string, std::vector<int>> entries;
    char *raw = static_cast<char *>(std::malloc(300));

    Registry() {
        for (int i = 0; i < 100; i++)
            entries[TEXT + std::to_string(i)].assign(static_cast<size_t>(i), i);
    }
    ~Registry() {
        std::string last(TEXT);
        entries[last].push_back(1);
        std::free(raw);
    }
};

Registry before_main;

thread_local std::vector<std::string> of_thread;
char *at_first, *at_exit_block;

__attribute__((constructor(101))) void first() {
    at_first = static_cast<char *>(std::malloc(77));
}

__attribute__((destructor(101))) void last() {
    std::free(at_first);
    char *fresh = static_cast<char *>(std::calloc(3, 33));
    std::free(std::realloc(fresh, 1000));
    std::malloc(11);
}

void on_exit() {
    std::free(at_exit_block);
    at_exit_block = nullptr;
}

void on_abort(int) {
    std::free(at_exit_block);
    std::malloc(22);
    _exit(9);
}

void fill() {
    for (int i = 0; i < 50; i++)
        of_thread.push_back(TEXT + std::to_string(i));
}

} // namespace

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "return";
    at_exit_block = static_cast<char *>(std::malloc(500));
    std::atexit(on_exit);
    std::at_quick_exit(on_exit);
    std::signal(SIGABRT, on_abort);
    fill();
    for (int i = 0; i < 5; i++)
        std::thread(fill).join();
    if (std::strcmp(how, "thread") == 0) {
        std::thread([] {
            fill();
            std::exit(7);
        }).join();
    }
    if (std::strcmp(how, "exit") == 0)
        std::exit(7);
    if (std::strcmp(how, "quick_exit") == 0)
        std::quick_exit(7);
    if (std::strcmp(how, "_exit") == 0)
        _exit(7);
    if (std::strcmp(how, "abort") == 0)
        std::abort();
    return 7;
}
