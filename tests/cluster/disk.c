/* disk.c - a disk that refuses to flush, for one program (LD_PRELOAD): fsync fails with EIO while
 * the file exists that the variable BATON_TEST_REFUSED names. strace does the same to a process
 * that runs already, but stops it at each of its system calls: an agent that is as slow as that
 * loses its lease before it has noticed anything. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int fsync(int fd)
{
    const char *path = getenv("BATON_TEST_REFUSED");

    if (path != NULL && access(path, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}
