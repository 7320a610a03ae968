/* Lets looks pass at blocks that come in one kind of place only:
 *
 *   asked plain      in main
 *   asked handler    in a signal's handler
 *   asked callback   in a function that the C library calls, as it does around fork
 *   asked thread     in a thread */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "looks.h"

enum { LOOKS = 8 };

static uint64_t from_ns, to_ns;

static uint64_t now_unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void wait_here(void) {
    from_ns = now_unix_ns();
    hold_for_looks(LOOKS);
    to_ns = now_unix_ns();
}

static void on_signal(int number) {
    (void)number;
    wait_here();
}

static int compare(const void *one, const void *other) {
    static int waited;
    if (!waited++)
        wait_here();
    return *(const char *)one - *(const char *)other;
}

static void *on_a_thread(void *argument) {
    wait_here();
    return argument;
}

int main(int count, char **arguments) {
    char letters[] = "ba";
    pthread_t thread;
    const char *where = count > 1 ? arguments[1] : "";
    if (!strcmp(where, "plain")) {
        wait_here();
    } else if (!strcmp(where, "handler")) {
        signal(SIGUSR1, on_signal);
        raise(SIGUSR1);
    } else if (!strcmp(where, "callback")) {
        qsort(letters, 2, 1, compare);
    } else if (!strcmp(where, "thread")) {
        if (pthread_create(&thread, NULL, on_a_thread, NULL) != 0)
            return 99;
        pthread_join(thread, NULL);
    } else {
        return 2;
    }
    answer("looks", count_of_looks());
    answer("from_unix_ns", from_ns);
    answer("to_unix_ns", to_ns);
    flush_answers();
    return 0;
}
