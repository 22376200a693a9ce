#define _GNU_SOURCE
/*
 * Serves commands over the serial line (standard input and output).
 *
 * A request is one line, "ID BASE64-OF-A-SCRIPT"; its answer is one line, "@ID STATUS BASE64-OF-ITS-OUTPUT". Each
 * script runs in a process of its own, so that one which hangs on a frozen file system cannot block the line: that
 * line is the way to thaw it. Not a shell script, because busybox's `read` drops half a line when a child ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 20 };

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void decode(const char *text, char *out)
{
    unsigned bits = 0, held = 0;
    for (const char *digit; *text && (digit = strchr(DIGITS, *text)); text++) {
        bits = bits << 6 | (unsigned)(digit - DIGITS);
        if ((held += 6) >= 8)
            *out++ = (char)(bits >> (held -= 8));
    }
    *out = 0;
}

static char *encode(const unsigned char *bytes, size_t length, char *out)
{
    for (size_t i = 0; i < length; i += 3) {
        unsigned a = bytes[i], b = i + 1 < length ? bytes[i + 1] : 0, c = i + 2 < length ? bytes[i + 2] : 0;
        unsigned group = a << 16 | b << 8 | c;
        *out++ = DIGITS[group >> 18];
        *out++ = DIGITS[group >> 12 & 63];
        *out++ = i + 1 < length ? DIGITS[group >> 6 & 63] : '=';
        *out++ = i + 2 < length ? DIGITS[group & 63] : '=';
    }
    return out;
}

/* Runs a script with its output in an unnamed file, in memory; a child that it leaves behind does not delay us. */
static int run(const char *script, int output)
{
    pid_t child = fork();
    if (child == 0) {
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(output, 1);
        dup2(output, 2);
        setsid();
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void answer(const char *id, int status, int output)
{
    off_t length = lseek(output, 0, SEEK_END);
    unsigned char *bytes = malloc(length + 1);
    char *line = malloc(length / 3 * 4 + strlen(id) + 32);
    if (bytes == NULL || line == NULL || pread(output, bytes, length, 0) != length)
        _exit(1);
    char *end = line + sprintf(line, "@%s %d ", id, status);
    end = encode(bytes, length, end);
    *end++ = '\n';
    int lock = open("/run/lab/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(lock, LOCK_EX);
    for (char *at = line; at < end;) {
        ssize_t sent = write(1, at, end - at);
        if (sent <= 0)
            _exit(1);
        at += sent;
    }
    _exit(0);
}

static void serve(char *line)
{
    char *text = strchr(line, ' ');
    if (text == NULL || fork() != 0)
        return;
    *text++ = 0;
    signal(SIGCHLD, SIG_DFL);
    char *script = malloc(strlen(text) + 1);
    int output = open("/run/lab", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (script == NULL || output < 0)
        _exit(1);
    decode(text, script);
    answer(line, run(script, output), output);
}

int main(void)
{
    static char line[LINE_MAX_BYTES];
    size_t length = 0;
    struct termios raw;
    if (tcgetattr(0, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(0, TCSANOW, &raw);
    }
    signal(SIGCHLD, SIG_IGN); /* nobody waits for the servants: the kernel reaps them */
    if (write(1, "LAB-READY\n", 10) != 10)
        return 1;
    for (char byte[4096];;) {
        ssize_t got = read(0, byte, sizeof byte);
        if (got <= 0)
            return 1;
        for (ssize_t i = 0; i < got; i++) {
            if (byte[i] == '\n') {
                line[length] = 0;
                serve(line);
                length = 0;
            } else if (length < sizeof line - 1) {
                line[length++] = byte[i];
            }
        }
    }
}
