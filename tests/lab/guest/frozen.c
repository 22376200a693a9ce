/*
 * The kernel's own word on whether a file system is frozen: "frozen MOUNTPOINT..." prints one line per mount point,
 * "frozen <mount>" or "thawed <mount>".
 *
 * The agent's status is only its belief, and a test write would hang, unkillable, until the thaw. A remount is refused
 * with EBUSY while the file system is frozen, and changes nothing otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

int main(int argc, char **argv)
{
    int status = 0;
    for (int i = 1; i < argc; i++) {
        if (mount(NULL, argv[i], NULL, MS_REMOUNT, NULL) == 0)
            printf("thawed %s\n", argv[i]);
        else if (errno == EBUSY)
            printf("frozen %s\n", argv[i]);
        else
            status = printf("error %s: %s\n", argv[i], strerror(errno)) > 0;
    }
    return status;
}
