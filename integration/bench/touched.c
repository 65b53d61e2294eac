/*
 * touched OUT STARTS CMD [ARG...]: runs CMD and its children, and writes to OUT each address of the file STARTS (hexadecimal, one a line,
 * starts of functions) when it is first executed. Exits when CMD does, and kills anything that CMD left running.
 *
 * There is a breakpoint on each address, in every program that CMD executes of itself; the first process that comes to it removes it
 * from its own memory, and its children copy that.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BREAKPOINT = 0xcc, MOST = 1 << 20 };

static struct place {
	unsigned long address;
	unsigned char byte;
	char seen;
} places[MOST];
static size_t count;

static int by_address(const void *one, const void *other)
{
	unsigned long a = ((const struct place *)one)->address, b = ((const struct place *)other)->address;

	return a < b ? -1 : a > b;
}

static int memory_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* Sets all breakpoints in a process that has just executed a program; in another program than CMD there is nothing at these addresses. */
static void set_all(pid_t pid)
{
	int memory = memory_of(pid);
	const unsigned char breakpoint = BREAKPOINT;

	for (size_t i = 0; i < count; i++) {
		if (pread(memory, &places[i].byte, 1, places[i].address) != 1 ||
		    pwrite(memory, &breakpoint, 1, places[i].address) != 1)
			break;
	}
	close(memory);
}

/* Continues behind a breakpoint. Returns whether there was one. */
static int passed(pid_t pid, FILE *out)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, pid, 0, &registers) == -1)
		return 0;
	struct place wanted = { .address = registers.rip - 1 };
	struct place *place = bsearch(&wanted, places, count, sizeof *places, by_address);
	if (!place)
		return 0;
	if (!place->seen)
		fprintf(out, "%lx\n", place->address);
	place->seen = 1;
	int memory = memory_of(pid);
	if (pwrite(memory, &place->byte, 1, place->address) != 1)
		exit(125);
	close(memory);
	registers.rip--;
	ptrace(PTRACE_SETREGS, pid, 0, &registers);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 125;
	FILE *out = fopen(argv[1], "w"), *starts = fopen(argv[2], "r");
	if (!starts || !out)
		return 125;
	while (count < MOST && fscanf(starts, "%lx", &places[count].address) == 1)
		count++;
	qsort(places, count, sizeof *places, by_address);
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	int status;
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0,
	       PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, child, 0, 0);
	for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
		if (!WIFSTOPPED(status) && pid == child)
			break; /* processes that it left behind, such as the init of `create`, die with us */
		if (!WIFSTOPPED(status))
			continue;
		int number = WSTOPSIG(status), pass_on = 0;
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
			set_all(pid);
		else if (!(status >> 16) && number != SIGSTOP && !(number == SIGTRAP && passed(pid, out)))
			pass_on = number;
		ptrace(PTRACE_CONT, pid, 0, pass_on);
	}
	return fclose(out) ? 125 : 0;
}
