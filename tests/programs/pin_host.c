/* Loads a library, lets it pin memory, and unloads it. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int (*pin)(const char *) = (int (*)(const char *))dlsym(library, "pin");
    int status = pin ? pin("") : 1;
    dlclose(library);
    return status;
}
