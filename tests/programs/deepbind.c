/* Loads a library that goes by its own idea of malloc, and exchanges blocks with it.
 *
 *   deepbind LIBRARY deep|plain
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "answer.h"

enum { EXCHANGES = 100 };

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    int deep = strcmp(arguments[2], "deep") == 0 ? RTLD_DEEPBIND : 0;
    void *library = dlopen(arguments[1], RTLD_NOW | deep);
    if (library == NULL)
        return 3;
    void *(*take)(size_t) = (void *(*)(size_t))(uintptr_t)dlsym(library, "take");
    void (*give)(void *) = (void (*)(void *))(uintptr_t)dlsym(library, "give");
    /* All of one kind at once: an address is not used twice. */
    void *theirs[EXCHANGES], *ours[EXCHANGES];
    for (int i = 0; i < EXCHANGES; i++) {
        theirs[i] = take(1000);
        ours[i] = malloc(1000);
    }
    for (int i = 0; i < EXCHANGES; i++) {
        free(theirs[i]);
        give(ours[i]);
    }
    answer("exchanges", EXCHANGES);
    flush_answers();
    return 0;
}
