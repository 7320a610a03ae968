/* Work that keeps time on a busy machine: steps begin at fixed times after the first, so that one
 * that comes late does not delay those behind it. What is told by parts of a run's time depends on
 * that. */
#ifndef PACE_H
#define PACE_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

/* Waits until so many microseconds after its first call, however long ago the last one was. */
static void wait_until(uint64_t microseconds) {
    static struct timespec first;
    struct timespec due;
    if (!first.tv_sec && !first.tv_nsec)
        clock_gettime(CLOCK_MONOTONIC, &first);
    due.tv_sec = first.tv_sec + (time_t)(microseconds / 1000000);
    due.tv_nsec = first.tv_nsec + (long)(microseconds % 1000000 * 1000);
    if (due.tv_nsec >= 1000000000) {
        due.tv_sec++;
        due.tv_nsec -= 1000000000;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

#endif
