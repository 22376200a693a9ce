/*
 * A busy application whose every confirmed record can be proven to be in a restored image.
 *
 *   writer FILE REPORT    append records for ever, each flushed before the next; after each flush the record's number
 *                         is put into REPORT (to be kept in memory, not on the disk under test)
 *   writer --check FILE   read it back: "RECORDS <n>" when records 1..n are whole and nothing follows, else
 *                         "BAD <number-of-the-first-bad-record>" and status 1
 *
 * A record is RECORD bytes of text: "QLAB <number, 16 digits> <checksum, 8 hex digits> " and a filler that depends on
 * the number. The checksum is 32-bit FNV-1a over the whole record with the checksum's own digits as zeroes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD = 64, SUM_AT = 22, SUM_DIGITS = 8, FILL_AT = 31, PAUSE_US = 200 };

static uint32_t fnv1a(const char *bytes, size_t length)
{
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < length; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 16777619u;
    return sum;
}

static void fill(char record[RECORD + 1], unsigned long long number)
{
    snprintf(record, RECORD + 1, "QLAB %016llu %08x ", number, 0u);
    for (int i = FILL_AT; i < RECORD - 1; i++)
        record[i] = 'a' + (number + i) % 26;
    record[RECORD - 1] = '\n';
    char digits[SUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%08x", fnv1a(record, RECORD));
    memcpy(record + SUM_AT, digits, SUM_DIGITS);
}

static int fail(const char *what)
{
    fprintf(stderr, "FAILED %s: %s\n", what, strerror(errno));
    return 1;
}

static int append(const char *file, const char *report)
{
    char record[RECORD + 1], line[24];
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    int side = open(report, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || side < 0)
        return fail("open");
    for (unsigned long long number = 1;; number++) {
        fill(record, number);
        if (write(fd, record, RECORD) != RECORD)
            return fail("write");
        if (fdatasync(fd) != 0)
            return fail("fdatasync");
        snprintf(line, sizeof line, "%016llu\n", number);
        if (pwrite(side, line, 17, 0) != 17)
            return fail("report");
        usleep(PAUSE_US);
    }
}

static int check(const char *file)
{
    char expected[RECORD + 1], found[RECORD];
    unsigned long long number = 1;
    FILE *in = fopen(file, "r");
    if (in == NULL)
        return fail("open");
    for (size_t got; (got = fread(found, 1, RECORD, in)) > 0; number++) {
        fill(expected, number);
        if (got != RECORD || memcmp(expected, found, RECORD) != 0) {
            printf("BAD %llu\n", number);
            return 1;
        }
    }
    printf("RECORDS %llu\n", number - 1);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--check") == 0)
        return check(argv[2]);
    if (argc == 3)
        return append(argv[1], argv[2]);
    fprintf(stderr, "usage: writer FILE REPORT | --check FILE\n");
    return 2;
}
