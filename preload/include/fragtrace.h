/* fragtrace.h: what a program tells of memory that it cuts up by itself.
 *
 * A pool (an arena, a slab, a free list) is one block to malloc, whatever becomes of it inside. These
 * calls tell the tracer of it, and of the blocks in it:
 *
 *     fragtrace_pool pool = fragtrace_create_pool("parser", memory, bytes);
 *     fragtrace_acquire_in(pool, block, size);      after the pool has given a block
 *     fragtrace_release_in(pool, block);            before it takes it back
 *     fragtrace_destroy_pool(pool);                 all blocks go; before the memory does
 *
 * Without the tracer in the process each is one branch. Nothing is to be linked: the tracer's
 * functions are weak symbols, that LD_PRELOAD=libfragtrace.so gives a value. For programs that are
 * linked dynamically, on Linux. */
#ifndef FRAGTRACE_H
#define FRAGTRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 0: it is not on record, and calls with it do nothing. */
typedef uint32_t fragtrace_pool;

__attribute__((weak)) fragtrace_pool fragtrace_pool_created(const char *name, const void *start,
                                                            size_t bytes);
__attribute__((weak)) void fragtrace_pool_destroyed(fragtrace_pool pool);
__attribute__((weak)) void fragtrace_pool_acquired(fragtrace_pool pool, void *block, size_t bytes);
__attribute__((weak)) void fragtrace_pool_released(fragtrace_pool pool, void *block);

/* The name is copied; 64 bytes of it are kept. */
static inline fragtrace_pool fragtrace_create_pool(const char *name, const void *start,
                                                   size_t bytes) {
    return fragtrace_pool_created ? fragtrace_pool_created(name, start, bytes) : 0;
}

static inline void fragtrace_destroy_pool(fragtrace_pool pool) {
    if (pool)
        fragtrace_pool_destroyed(pool);
}

static inline void fragtrace_acquire_in(fragtrace_pool pool, void *block, size_t bytes) {
    if (pool)
        fragtrace_pool_acquired(pool, block, bytes);
}

static inline void fragtrace_release_in(fragtrace_pool pool, void *block) {
    if (pool)
        fragtrace_pool_released(pool, block);
}

#ifdef __cplusplus
}
#endif

#endif
