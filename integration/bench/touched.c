/*
 * touched OUT LOW HIGH CMD [ARG...]: single-steps CMD and its children, and writes to OUT each address between LOW and
 * HIGH (hexadecimal) when it is first executed. Exits when CMD does, and kills anything that CMD left running.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 5)
		return 125;
	unsigned long low = strtoul(argv[2], NULL, 16), high = strtoul(argv[3], NULL, 16);
	unsigned char *seen = calloc(high - low, 1);
	FILE *out = fopen(argv[1], "w");
	if (!seen || !out)
		return 125;
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(argv[4], argv + 4);
		_exit(127);
	}
	int status;
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
						      PTRACE_O_EXITKILL);
	ptrace(PTRACE_SINGLESTEP, child, 0, 0);
	for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
		if (!WIFSTOPPED(status) && pid == child)
			break; /* processes that it left behind, such as the init of `create`, die with us */
		if (!WIFSTOPPED(status))
			continue;
		struct user_regs_struct registers;
		if (ptrace(PTRACE_GETREGS, pid, 0, &registers) == 0 && registers.rip >= low && registers.rip < high &&
		    !seen[registers.rip - low]) {
			seen[registers.rip - low] = 1;
			fprintf(out, "%llx\n", registers.rip);
		}
		int number = WSTOPSIG(status);
		int passed_on = number == SIGTRAP || number == SIGSTOP || status >> 16 ? 0 : number;
		ptrace(PTRACE_SINGLESTEP, pid, 0, passed_on);
	}
	return fclose(out) ? 125 : 0;
}
