/* Arenas that it tells the tracer of, and what is live in them: one that lives on with every other
 * block given back, and many that are thrown away as a whole. The first block of each lies where the
 * arena does. */
#include <stdlib.h>

#include "../../preload/include/fragtrace.h"
#include "answer.h"

enum { ARENA_BYTES = 1 << 20, BLOCK_BYTES = 512, BLOCKS = 1000, ROUNDS = 50 };

struct arena {
    char *memory;
    size_t used;
    fragtrace_pool pool;
};

static struct arena open_arena(const char *name) {
    struct arena arena = {malloc(ARENA_BYTES), 0, 0};
    if (!arena.memory)
        _exit(99);
    arena.pool = fragtrace_create_pool(name, arena.memory, ARENA_BYTES);
    return arena;
}

static void *take(struct arena *arena, size_t bytes) {
    char *block = arena->memory + arena->used;
    arena->used += bytes;
    memset(block, 1, bytes);
    fragtrace_acquire_in(arena->pool, block, bytes);
    return block;
}

static void close_arena(struct arena *arena) {
    fragtrace_destroy_pool(arena->pool);
    free(arena->memory);
}

int main(void) {
    static void *blocks[BLOCKS];
    struct arena kept = open_arena("kept");
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = take(&kept, BLOCK_BYTES);
    for (int i = 0; i < BLOCKS; i += 2)
        fragtrace_release_in(kept.pool, blocks[i]);
    for (int round = 0; round < ROUNDS; round++) {
        struct arena request = open_arena("request");
        for (int i = 0; i < BLOCKS; i++)
            take(&request, (size_t)(i % 64 + 1));
        close_arena(&request);
    }
    answer("seen", kept.pool != 0);
    answer("start", (uint64_t)(uintptr_t)kept.memory);
    flush_answers();
    return 0;
}
