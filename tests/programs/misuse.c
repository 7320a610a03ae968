/* A program that uses its allocator badly, the same cured, or something much like it that is not bad.
 *
 *   misuse NAME [cured|near]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"
#include "pace.h"

enum { DATA_BYTES = 24 << 20, REST_US = 300000 };

static int cured, near;

/* A macro, so that the site is the function that uses it. */
#define filled(size) memset(malloc(size), 1, size)

/* What the program works with all the time: a heap of less is not judged. */
static void load_data(void) {
    for (int i = 0; i < DATA_BYTES / 1000; i++)
        filled(1000);
}

/* Results that workers make and the main thread frees, which goes on working while they wait; a summary
 * of each worker stays at the end of its arena. Cured: the main thread hands out the buffers. Near: the
 * workers go on and fill what came free. */
enum { WORKERS = 3, RESULTS = 1000, RESULT_BYTES = 12000, ROUNDS = 100, ROUND_US = 10000 };
static void *results[WORKERS][RESULTS];
static pthread_barrier_t begin, made, taken, end;

__attribute__((noinline)) static void *make_result(void) {
    void *result = filled(RESULT_BYTES);
    return result;
}

__attribute__((noinline)) static void *hand_out(void) {
    void *buffer = filled(RESULT_BYTES);
    return buffer;
}

__attribute__((noinline)) static void *hand_out_some(size_t bytes) {
    void *some = malloc(bytes);
    return some;
}

static void *work(void *mine) {
    void **result = mine;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < RESULTS; i++)
        if (!cured)
            result[i] = make_result();
        else
            memset(result[i], 2, RESULT_BYTES);
    filled(2000);
    pthread_barrier_wait(&made);
    pthread_barrier_wait(&taken);
    for (int i = 0; near && i < RESULTS; i++)
        result[i] = make_result();
    pthread_barrier_wait(&end);
    return mine;
}

static void cross_thread_free(void) {
    pthread_t threads[WORKERS];
    load_data();
    pthread_barrier_init(&begin, NULL, WORKERS + 1);
    pthread_barrier_init(&made, NULL, WORKERS + 1);
    pthread_barrier_init(&taken, NULL, WORKERS + 1);
    pthread_barrier_init(&end, NULL, WORKERS + 1);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, work, results[i]);
    for (int i = 0; cured && i < WORKERS; i++)
        for (int j = 0; j < RESULTS; j++)
            results[i][j] = hand_out();
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&made);
    for (int i = 0; i < WORKERS; i++)
        for (int j = 0; j < RESULTS; j++)
            free(results[i][j]);
    pthread_barrier_wait(&taken);
    for (int i = 0; i < ROUNDS * 1000; i++) {
        free(hand_out_some((size_t)i * 7919 % 20000 + 100));
        if (i % 1000 == 0)
            wait_until((uint64_t)i / 1000 * ROUND_US);
    }
}

/* Columns that grow by realloc in fixed steps, all at once; behind each step something that stays.
 * Cured: with the final size at once. Near: one column after the other, in the holes of the first. */
enum { COLUMNS = 40, STEPS = 11, STEP_BYTES = 10000 };

__attribute__((noinline)) static void *grow_column(void *column, int step) {
    size_t bytes = cured ? STEPS * STEP_BYTES : (size_t)step * STEP_BYTES;
    column = realloc(column, bytes);
    return memset(column, 1, bytes);
}

__attribute__((noinline)) static void *note_step(int step) {
    void *note = filled((size_t)step * STEP_BYTES + 100);
    return note;
}

static void realloc_ladder(void) {
    static void *columns[COLUMNS];
    for (int i = 0; i < STEPS * COLUMNS; i++) {
        int column = near ? i / STEPS : i % COLUMNS;
        int step = near ? i % STEPS + 1 : i / COLUMNS + 1;
        columns[column] = grow_column(columns[column], step);
        note_step(step);
    }
}

/* A line buffer for each of many lines. Cured: one for all. Near: not so many. */
enum { LINES = 2000000, LINE_BYTES = 100 };

__attribute__((noinline)) static void *begin_line(void) {
    void *line = malloc(LINE_BYTES);
    return line;
}

static void churn(void) {
    load_data();
    char *line = begin_line();
    for (int i = 0; i < (near ? LINES / 10 : LINES); i++) {
        if (!cured) {
            free(line);
            line = begin_line();
        }
        line[i % LINE_BYTES] = 1;
    }
}

/* Pictures with a mapping each, which goes back with them. Cured: one buffer for all. Near: a few. */
enum { PICTURES = 1500, PICTURE_BYTES = 1 << 20 };

__attribute__((noinline)) static void *begin_picture(void) {
    void *picture = malloc(PICTURE_BYTES);
    return picture;
}

static void purge_churn(void) {
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    load_data();
    char *picture = begin_picture();
    for (int i = 0; i < (near ? PICTURES / 10 : PICTURES); i++) {
        if (!cured) {
            free(picture);
            picture = begin_picture();
        }
        memset(picture, i, PICTURE_BYTES);
    }
}

/* One large block that is freed raises the mmap threshold, and what follows comes from the heap.
 * Cured: the threshold is pinned. Near: what follows stays in use. */
enum { TABLES = 200, TABLE_BYTES = 200 << 10 };

__attribute__((noinline)) static void *read_configuration(void) {
    void *file = filled(30 << 20);
    return file;
}

__attribute__((noinline)) static void *make_table(void) {
    void *table = filled(TABLE_BYTES);
    return table;
}

static void threshold_ratchet(void) {
    static void *tables[TABLES];
    if (cured)
        mallopt(M_MMAP_THRESHOLD, 128 << 10);
    load_data();
    free(read_configuration());
    for (int i = 0; i < TABLES; i++)
        tables[i] = make_table();
    for (int i = 0; !near && i < TABLES; i++)
        free(tables[i]);
}

/* Memory of the program's own that is given back lazily. Cured: at once. Near: little of it. */
static void lazy_free(void) {
    size_t bytes = near ? 2 << 20 : 16 << 20;
    load_data();
    void *own = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(own, 1, bytes);
    madvise(own, bytes, cured ? MADV_DONTNEED : MADV_FREE);
}

/* A tensor, something small, the next tensor before the first goes. Cured: one tensor for all. Near:
 * the next one comes when the first is gone. */
enum { TENSORS = 40, TENSOR_BYTES = 1 << 20 };

__attribute__((noinline)) static void *make_tensor(void) {
    void *tensor = filled(TENSOR_BYTES);
    return tensor;
}

static void address_growth(void) {
    load_data();
    void *tensor = make_tensor(), *line = NULL;
    for (int i = 1; i < TENSORS; i++) {
        void *old_line = line, *old = tensor;
        line = filled((size_t)i * 16 + 100);
        if (near)
            free(old);
        if (!cured)
            tensor = make_tensor();
        if (!cured && !near)
            free(old);
        free(old_line);
    }
}

/* Threads that have an arena each, and use little of it; huge pages, and none where it is cured, are
 * the allocator's setting. Near: as much memory on huge pages, but used. */
enum { LITTLE_THREADS = 24, LITTLE_BYTES = 64 << 10, ALL_BYTES = 96 << 20 };

static void *work_a_little(void *unused) {
    for (int bytes = 0; bytes < LITTLE_BYTES; bytes += 1000)
        filled(1000);
    pthread_barrier_wait(&made);
    pthread_barrier_wait(&end);
    return unused;
}

static void huge_page_bloat(void) {
    pthread_t threads[LITTLE_THREADS];
    load_data();
    for (int bytes = 0; near && bytes < ALL_BYTES; bytes += 1000)
        filled(1000);
    if (near)
        return;
    pthread_barrier_init(&made, NULL, LITTLE_THREADS + 1);
    pthread_barrier_init(&end, NULL, LITTLE_THREADS + 1);
    for (int i = 0; i < LITTLE_THREADS; i++)
        pthread_create(&threads[i], NULL, work_a_little, NULL);
    /* They wait until the process ends: what a thread gives back as it goes splits huge pages. */
    pthread_barrier_wait(&made);
}

/* What of the process the kernel has in huge pages: it gives none where memory is in pieces. */
static void tell_huge_bytes(void) {
    char text[2048] = "";
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t got = read(file, text, sizeof text - 1);
    const char *line = got > 0 ? strstr(text, "AnonHugePages:") : NULL;
    close(file);
    answer("huge_bytes", line ? strtoull(line + 14, NULL, 10) << 10 : 0);
    flush_answers();
}

static const struct {
    const char *name;
    void (*act)(void);
} misuses[] = {
    {"cross-thread-free", cross_thread_free},
    {"realloc-ladder", realloc_ladder},
    {"churn", churn},
    {"purge-churn", purge_churn},
    {"threshold-ratchet", threshold_ratchet},
    {"lazy-free", lazy_free},
    {"address-growth", address_growth},
    {"huge-page-bloat", huge_page_bloat},
};

int main(int count, char **words) {
    cured = count > 2 && strcmp(words[2], "cured") == 0;
    near = count > 2 && strcmp(words[2], "near") == 0;
    for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++)
        if (count > 1 && strcmp(misuses[i].name, words[1]) == 0)
            misuses[i].act();
    /* What a program does in the end is judged only after a while. */
    usleep(REST_US);
    if (count > 1 && strcmp("huge-page-bloat", words[1]) == 0)
        tell_huge_bytes();
    return 0;
}
