/* A library to be loaded and unloaded: allocates from a few frames, whose size is FRAME words. */
#include <stdlib.h>

__attribute__((noinline)) static int step(int depth) {
    volatile long room[FRAME];
    room[depth % FRAME] = depth;
    void *block = malloc((size_t)depth + 1);
    int result = depth ? step(depth - 1) : (int)room[0];
    free(block);
    return result + (int)room[depth % FRAME];
}

int work(int depth);
int work(int depth) {
    return step(depth) + 1;
}
