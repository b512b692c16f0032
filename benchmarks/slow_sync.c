/* A disk whose sync takes longer: SYNC_DELAY_US microseconds are waited after every fsync and
 * fdatasync of a process, by the thread that called it. Syncs of several files still go on at the
 * same time, as on a volume behind a network, where a sync costs a round trip.
 *
 *   gcc -O2 -shared -fPIC -o build/slow_sync.so benchmarks/slow_sync.c
 *   SYNC_DELAY_US=2000 LD_PRELOAD=$PWD/build/slow_sync.so python -m benchmarks durable durable-32 \
 *       --disk "the disk with 2 ms more a sync"
 *
 * What the benchmark starts (both brokers) and its own yardstick inherit it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

static int after_delay(int result)
{
    const char *text = getenv("SYNC_DELAY_US");
    long us = text ? atol(text) : 0;
    struct timespec delay = {us / 1000000, us % 1000000 * 1000};
    int kept = errno;
    while (us > 0 && nanosleep(&delay, &delay) == -1 && errno == EINTR)
        ;
    errno = kept;
    return result;
}

int fsync(int fd)
{
    static int (*next)(int);
    if (!next)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return after_delay(next(fd));
}

int fdatasync(int fd)
{
    static int (*next)(int);
    if (!next)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return after_delay(next(fd));
}

long syscall(long number, ...)
{
    static long (*next)(long, ...);
    long at[6];
    va_list given;
    va_start(given, number);
    for (int i = 0; i < 6; i++)
        at[i] = va_arg(given, long);
    va_end(given);
    if (number == SYS_io_setup) {
        errno = ENOSYS;
        return -1;
    }
    if (!next)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next(number, at[0], at[1], at[2], at[3], at[4], at[5]);
}
