/*
 * usage OUT CMD [ARG...]: runs CMD and appends to the file OUT what it and the descendants it waited for have used: page faults that
 * needed no I/O, voluntary context switches, and the peak resident set size of the largest process in KiB. Exits as CMD does.
 *
 * This program is small and static, so that its own memory, which the kernel counts until the execve, is less than CMD's.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 125;
	pid_t pid = vfork();
	if (pid == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	int status;
	struct rusage used;
	if (pid == -1 || wait4(pid, &status, 0, &used) == -1)
		return 125;
	FILE *out = fopen(argv[1], "a");
	if (!out || fprintf(out, "%ld %ld %ld\n", used.ru_minflt, used.ru_nvcsw, used.ru_maxrss) < 0 || fclose(out))
		return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
