/*
 * filter PID: writes the first seccomp filter of the process to standard output, as an array of struct sock_filter.
 *
 * Needs CAP_SYS_ADMIN, no filter of its own, and a kernel with CONFIG_CHECKPOINT_RESTORE.
 */
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	static struct sock_filter filter[BPF_MAXINSNS];
	pid_t pid = argc == 2 ? atoi(argv[1]) : 0;
	int status;

	if (pid <= 0) {
		fputs("usage: filter PID\n", stderr);
		return 125;
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == -1 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1 ||
	    waitpid(pid, &status, __WALL) != pid) {
		perror("filter: ptrace");
		return 125;
	}
	long count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, filter);

	if (count <= 0) {
		perror("filter: PTRACE_SECCOMP_GET_FILTER");
		return 125;
	}
	return fwrite(filter, sizeof *filter, count, stdout) == (size_t)count && fflush(stdout) == 0 ? 0 : 125;
}
