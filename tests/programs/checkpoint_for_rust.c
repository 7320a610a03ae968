/* What checkpoint.h does, for a program in Rust. */
#define _GNU_SOURCE
#include "checkpoint.h"

enum { LOOKS = 6 };

void tell(const char *when, const char *key, uint64_t value) {
    answer_of(when, key, value);
}

void tell_now(void) {
    flush_answers();
}

/* What the kernel says of the heap just now, and when that is. Takes no block. */
void tell_view(const char *when) {
    answer_of(when, "unix_ns", now_unix_ns());
    tell_kernels_view(when);
}

/* How far the C library's heap can grow before it meets a mapping. */
static uint64_t room_above(uint64_t heap_end) {
    read_text("/proc/self/maps");
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        uint64_t start = strtoull(line, NULL, 16);
        if (start >= heap_end)
            return start - heap_end;
    }
    return 0;
}

void checkpoint(const char *when, uint64_t live_bytes) {
    uint64_t from_ns = hold_still(LOOKS), heap_end = (uint64_t)(uintptr_t)sbrk(0);
    answer_of(when, "live_bytes", live_bytes);
    answer_of(when, "heap_end", heap_end);
    answer_of(when, "heap_room", room_above(heap_end));
    tell_kernels_view(when);
    stay_still(when, from_ns);
}
