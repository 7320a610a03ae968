/* How test programs print: with write(2), from a static buffer. stdio would take a block for its
 * own buffer at the first print, and the program would no longer know its own counts. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static char answer_buffer[1 << 16];
static size_t answer_length;

static void flush_answers(void) {
    size_t written = 0;
    while (written < answer_length) {
        ssize_t done = write(1, answer_buffer + written, answer_length - written);
        if (done <= 0)
            break;
        written += (size_t)done;
    }
    answer_length = 0;
}

static void put_text(const char *text) {
    size_t length = strlen(text);
    if (answer_length + length > sizeof answer_buffer)
        flush_answers();
    memcpy(answer_buffer + answer_length, text, length);
    answer_length += length;
}

static void put_in_base(uint64_t value, unsigned base) {
    char digits[32];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    put_text(at);
}

static void put_number(uint64_t value) {
    put_in_base(value, 10);
}

static void put_address(uint64_t value) {
    put_text("0x");
    put_in_base(value, 16);
}

/* One `key=value` line. */
static void answer(const char *key, uint64_t value) {
    put_text(key);
    put_text("=");
    put_number(value);
    put_text("\n");
}

/* A small generator: the same numbers everywhere. */
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static unsigned long argument(int count, char **arguments, int index, unsigned long otherwise) {
    unsigned long value = 0;
    if (index >= count)
        return otherwise;
    for (const char *digit = arguments[index]; *digit; digit++)
        value = value * 10 + (unsigned long)(*digit - '0');
    return value;
}

#endif
