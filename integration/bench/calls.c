/* calls: measures the cost of system calls from inside a container.
 *
 * For every line "NAME COUNT" on standard input it makes the call COUNT times and prints how many nanoseconds that took.
 * The calls themselves do next to nothing, so the cost of a filter is visible.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    char name[32];
    long count;
    struct timespec before, after;

    while (scanf("%31s %ld", name, &count) == 2) {
        /* getppid: allowed with any arguments. personality: a query, allowed because of its argument. mount: refused by
         * Docker's profile, and without it by the kernel, because of the null pointer or a missing capability. */
        long number = !strcmp(name, "getppid") ? SYS_getppid : !strcmp(name, "personality") ? SYS_personality : SYS_mount;
        clock_gettime(CLOCK_MONOTONIC, &before);
        for (long i = 0; i < count; i++)
            syscall(number, 0xffffffffL, 0L, 0L, 0L, 0L);
        clock_gettime(CLOCK_MONOTONIC, &after);
        printf("%lld\n", (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec);
        fflush(stdout);
    }
    return 0;
}
