/*
 * rss CMD [ARG...]: runs CMD with its standard output discarded, prints its peak resident set size in KiB, and exits
 * with its exit code.
 *
 * The number is that of the largest single process among CMD and the descendants it waited for, from ru_maxrss. The
 * kernel does not reset ru_maxrss at execve, so a large parent (such as a Python interpreter) would be counted as
 * CMD's memory. This program is small and static: about 1 MB.
 *
 * Build: gcc -O2 -static -o rss rss.c
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs("usage: rss CMD [ARG...]\n", stderr);
		return 125;
	}
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null == -1 || dup2(null, STDOUT_FILENO) == -1) {
			perror("rss: /dev/null");
			_exit(125);
		}
		execvp(argv[1], argv + 1);
		perror("rss: execvp");
		_exit(127);
	}
	int status;
	struct rusage usage;

	if (pid == -1 || wait4(pid, &status, 0, &usage) == -1) {
		perror("rss");
		return 125;
	}
	printf("%ld\n", usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
