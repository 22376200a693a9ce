/*
 * What an application feels: append, flush, and report every gap between two completed flushes.
 *
 *   stallmeter FILE THRESHOLD_MS   loop for ever; one line per gap above the threshold, on standard output:
 *                                    START <now-ms>
 *                                    STALL <gap-ms> <end-ms>
 *   stallmeter --mark TEXT         print "MARK <now-ms> <text>", to be appended to the same log
 *   stallmeter --now               print the clock, in ms
 *
 * All times are CLOCK_MONOTONIC of the guest in milliseconds with three decimals. The gap includes the pause of
 * PAUSE_US between two appends, so that it is the time during which nothing was confirmed as stored.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_US = 1500, RECORD = 64, WRAP = 4 << 20 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int fail(const char *what)
{
    printf("FAILED %s: %s\n", what, strerror(errno));
    return 1;
}

static int measure(const char *file, double threshold)
{
    char record[RECORD];
    off_t at = 0;
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return fail("open");
    memset(record, 'x', sizeof record);
    record[RECORD - 1] = '\n';
    double last = 0;
    for (;;) {
        if (pwrite(fd, record, sizeof record, at) != (ssize_t)sizeof record)
            return fail("write");
        if (fdatasync(fd) != 0)
            return fail("fdatasync");
        double now = now_ms();
        if (last == 0)
            printf("START %.3f\n", now);
        else if (now - last > threshold)
            printf("STALL %.3f %.3f\n", now - last, now);
        last = now;
        at = (at + RECORD) % WRAP;
        usleep(PAUSE_US);
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "--now") == 0)
        return printf("%.3f\n", now_ms()) < 0;
    if (argc == 3 && strcmp(argv[1], "--mark") == 0)
        return printf("MARK %.3f %s\n", now_ms(), argv[2]) < 0;
    if (argc == 3)
        return measure(argv[1], atof(argv[2]));
    fprintf(stderr, "usage: stallmeter FILE THRESHOLD_MS | --mark TEXT | --now\n");
    return 2;
}
