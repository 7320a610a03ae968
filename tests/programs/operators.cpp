/* Each form of C++'s operators new and delete, as often as it is told, and what that comes to.
 *
 *   operators ROUNDS [throw]     with throw: one in ten asks for more than there is */
#include <cstdlib>
#include <new>

extern "C" {
#include "answer.h"
}

static uint64_t allocs, frees, live_bytes;
static void *kept[64];
static size_t kept_bytes[64];

/* Ends the block that was kept in the place, and keeps another there. */
static void keep(unsigned long round, void *block, size_t bytes) {
    unsigned place = round % 64;
    if (!block)
        _exit(97);
    allocs++;
    live_bytes += bytes;
    if (kept[place]) {
        frees++;
        live_bytes -= kept_bytes[place];
        switch (round / 64 % 4) {
        case 0: ::operator delete(kept[place]); break;
        case 1: ::operator delete[](kept[place]); break;
        case 2: ::operator delete(kept[place], kept_bytes[place]); break;
        default: ::operator delete[](kept[place], std::nothrow); break;
        }
    }
    kept[place] = block;
    kept_bytes[place] = bytes;
}

/* Aligned blocks must end by an aligned operator. */
static void take_aligned(size_t bytes) {
    void *one = ::operator new(bytes, std::align_val_t(64));
    void *two = ::operator new[](bytes, std::align_val_t(256), std::nothrow);
    if ((uintptr_t)one % 64 || !two || (uintptr_t)two % 256)
        _exit(96);
    ::operator delete(one, std::align_val_t(64));
    ::operator delete[](two, bytes, std::align_val_t(256));
    allocs += 2;
    frees += 2;
}

__attribute__((noinline)) static void fail() {
    volatile size_t too_much = (size_t)1 << 60;
    bool thrown = false;
    try {
        keep(0, ::operator new(too_much), too_much);
    } catch (const std::bad_alloc &) {
        thrown = true;
        /* The exception itself is a block, too. */
        allocs++;
        frees++;
    }
    if (!thrown || ::operator new(too_much, std::nothrow))
        _exit(95);
}

int main(int count, char **arguments) {
    unsigned long rounds = strtoul(arguments[1], nullptr, 10);
    for (unsigned long round = 0; round < rounds; round++) {
        size_t bytes = 1 + round * 37 % 3000;
        switch (round % 4) {
        case 0: keep(round, ::operator new(bytes), bytes); break;
        case 1: keep(round, ::operator new[](bytes), bytes); break;
        case 2: keep(round, ::operator new(bytes, std::nothrow), bytes); break;
        default: keep(round, ::operator new[](bytes, std::nothrow), bytes); break;
        }
        if (round % 8 == 5)
            take_aligned(bytes);
        if (count > 2 && round % 10 == 9)
            fail();
    }
    answer("allocs", allocs);
    answer("frees", frees);
    answer("live_bytes", live_bytes);
    flush_answers();
    return 0;
}
