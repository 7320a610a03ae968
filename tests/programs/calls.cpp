// Allocations from all kinds of C++ code: templates, virtual calls, recursion, callbacks out of C,
// exceptions, containers, a frame that is realigned, code that jumps, signal handlers, threads.
#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define APART __attribute__((noinline))

struct Shape {
    virtual ~Shape() = default;
    virtual std::string name(int depth) const = 0;
};

template <int N> struct Polygon : Shape {
    APART std::string name(int depth) const override {
        std::string text = "polygon with a name too long for the object itself";
        if (depth > 0)
            text += Polygon<(N * 7 + 3) % 16>().name(depth - 1);
        return text.substr(0, 60);
    }
};

APART static int compare(const void *a, const void *b) {
    std::vector<int> scratch(static_cast<size_t>(*static_cast<const int *>(a) % 50 + 1));
    return *static_cast<const int *>(a) - *static_cast<const int *>(b) + scratch[0];
}

APART static void sorted(int seed) {
    int values[20];
    for (int i = 0; i < 20; i++)
        values[i] = (seed * 7919 + i * 104729) % 997;
    qsort(values, 20, sizeof *values, compare);
}

APART static size_t thrown(int depth) {
    if (depth == 0)
        throw std::runtime_error("a message too long for the object itself, so it is a block");
    std::vector<char> room(static_cast<size_t>(depth) * 10);
    return thrown(depth - 1) + room.size();
}

APART static size_t caught(int depth) {
    try {
        return thrown(depth);
    } catch (const std::exception &error) {
        return std::strlen(error.what());
    }
}

// gcc realigns the frame, and finds its end through a word in it.
APART static void realigned(int seed) {
    alignas(64) volatile char wide[128];
    wide[seed & 127] = 1;
    void *block = std::malloc(static_cast<size_t>(seed % 100 + 1));
    sorted(seed);
    std::free(block);
    wide[0] = 2;
}

APART static void on_the_stack(int seed) {
    volatile char *room = static_cast<volatile char *>(__builtin_alloca(static_cast<size_t>(seed % 900 + 1)));
    room[0] = 1;
    std::unique_ptr<int[]> block(new int[static_cast<size_t>(seed % 30 + 1)]);
    sorted(seed + 1);
    room[0] = 2;
}

static std::jmp_buf back;

APART static void jumps(int depth) {
    void *block = std::malloc(static_cast<size_t>(depth) + 1);
    std::free(block);
    if (depth == 0)
        std::longjmp(back, 1);
    jumps(depth - 1);
}

APART static void jumped(int depth) {
    if (setjmp(back) == 0)
        jumps(depth);
}

static void handler(int) {
    // Safe here: the program raises the signal itself, outside malloc.
    void *block = std::malloc(40);
    std::free(block);
}

APART static int recursive(int depth, const std::function<int(int)> &work) {
    if (depth == 0)
        return work(depth);
    std::string text(static_cast<size_t>(depth) + 30, 'x');
    return recursive(depth - 1, work) + static_cast<int>(text.size());
}

static void all(int rounds) {
    std::map<std::string, std::vector<int>> table;
    for (int i = 0; i < rounds; i++) {
        std::unique_ptr<Shape> shape(i % 2 ? static_cast<Shape *>(new Polygon<3>) : new Polygon<8>);
        table[shape->name(i % 9)].push_back(i);
        caught(i % 12);
        realigned(i);
        on_the_stack(i);
        sorted(i);
        std::ostringstream text;
        text << "round " << i << " of " << rounds << ", " << table.size();
        table[text.str()].push_back(i);
        recursive(i % 90, [&](int n) {
            table["innermost, with a key that is long enough"].push_back(n);
            return n;
        });
        if (table.size() > 200)
            table.clear();
    }
}

int main(int count, char **arguments) {
    int rounds = count > 1 ? std::atoi(arguments[1]) : 100;
    std::signal(SIGUSR1, handler);
    for (int i = 0; i < rounds; i += 10) {
        all(10);
        jumped(i % 20);
        std::raise(SIGUSR1);
    }
    std::thread other(all, rounds);
    other.join();
    std::puts("done");
}
