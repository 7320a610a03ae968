/* A library that does nothing, of the size of another: any preloaded library moves what mmap
 * places, and its thread-local storage makes the C library's table of each thread larger. */
#include <stddef.h>

#if TLS_BYTES > 0
__attribute__((tls_model("initial-exec"), aligned(8))) __thread char idle_tls[TLS_BYTES];
#endif

#if PAD_BYTES > 0
char idle_pad[PAD_BYTES];
#endif

void *idle(void) {
#if TLS_BYTES > 0
    return idle_tls;
#else
    return NULL;
#endif
}
