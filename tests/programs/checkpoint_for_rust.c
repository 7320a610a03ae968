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

void checkpoint(const char *when, uint64_t live_bytes) {
    uint64_t from_ns = hold_still(LOOKS);
    answer_of(when, "live_bytes", live_bytes);
    answer_of(when, "heap_end", (uint64_t)(uintptr_t)sbrk(0));
    tell_kernels_view(when);
    stay_still(when, from_ns);
}
