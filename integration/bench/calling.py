"""Programs that the benches start: timed or asked, and never left hanging."""

import argparse
import ctypes
import os
import platform
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
ORLOP = os.path.join(REPOSITORY, "target", platform.machine() + "-unknown-linux-gnu", "dist", "orlop")
HANG = 20  # seconds after which a call counts as hung and is killed
PAUSE = 0.005  # seconds between calls: the kernel frees namespaces after the process is gone, outside its measured time
# The environment of all measured processes.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Failed(Exception):
    """A runtime's call that failed; the text has all the details."""


class Caller:
    """Starts programs with as little overhead in the measured time as Python allows."""

    def __init__(self, directory, patience):
        self.stderr = os.path.join(directory, "stderr")
        self.pid = None
        self.patience = patience  # seconds left to wait for a quiet machine, for the whole bench
        self.calls = self.disturbed = 0
        self.cpu = None  # milliseconds of user and system time of the last call
        signal.signal(signal.SIGALRM, self._kill_hung)
        # posix_spawn uses vfork, so its cost does not grow with the size of this interpreter.
        self.file_actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, self.stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600),
        ]

    def _kill_hung(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    def notes(self):
        """What to say about the measurements as a whole."""
        if self.disturbed <= self.calls / 10:
            return []
        return [f"BUSY: {100 * self.disturbed // self.calls} % of the calls found other processes running; "
                f"all ratios are pulled towards 1, do not trust them"]

    def await_quiet(self):
        """Waits until no other process wants a CPU, for as long as patience lasts.

        On busy CPUs every wake-up and every wait for RCU takes milliseconds longer. This adds the same time to every
        runtime and so pulls all ratios towards 1.
        """
        self.calls += 1
        while True:
            with open("/proc/loadavg") as file:  # "0.20 0.18 0.12 1/80 11206": fourth, runnable tasks / all tasks
                runnable = int(file.read().split()[3].split("/")[0])
            if runnable <= 1:
                return
            if self.patience <= 0:
                self.disturbed += 1
                return
            time.sleep(0.01)
            self.patience -= 0.01

    def rate(self, commands, at_once):
        """Milliseconds a command, with AT_ONCE of them running at any time."""
        self.await_quiet()
        waiting, running = list(commands), {}
        signal.alarm(HANG)
        before = time.perf_counter_ns()
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    command = waiting.pop()
                    running[os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=self.file_actions)] = command
                self.pid = next(iter(running))
                pid, status = os.waitpid(-1, 0)
                command = running.pop(pid, None)  # None: a container that its runtime did not wait for
                if command and status != 0:
                    raise Failed(f"`{' '.join(command)}`, {at_once} at once: {end_of(os.waitstatus_to_exitcode(status))}")
        finally:
            signal.alarm(0)
            self.pid = None
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return (time.perf_counter_ns() - before) / 1e6 / len(commands)

    def time(self, command):
        """Milliseconds from before the spawn to after the wait; raises Failed unless the exit code is 0."""
        self.await_quiet()
        signal.alarm(HANG)
        before = time.perf_counter_ns()
        try:
            self.pid = os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=self.file_actions)
        except OSError as error:
            signal.alarm(0)
            raise Failed(f"`{' '.join(command)}`: {error}") from None
        _, status, usage = os.wait4(self.pid, 0)
        after = time.perf_counter_ns()
        self.pid = None
        hung = signal.alarm(0) == 0
        if status != 0:
            with open(self.stderr, errors="replace") as file:
                said = said_by(file.read())
            how = f"hung for {HANG} s" if hung else end_of(os.waitstatus_to_exitcode(status))
            raise Failed(f"`{' '.join(command)}`: {how}: {said}")
        time.sleep(PAUSE)
        # Processes that the runtime did not wait for are reaped here, so they count too.
        self.cpu = (usage.ru_utime + usage.ru_stime + reap()) * 1e3
        return (after - before) / 1e6


def said_by(stderr):
    return stderr.strip()[:2000] or "(nothing on stderr)"


def end_of(code):
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def ask(command, expected=0):
    """Standard output of a call that is not timed. EXPECTED is its exit code; None allows any."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              env=ENVIRONMENT, timeout=HANG)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"`{' '.join(command)}`: {error}") from None
    if expected not in (None, done.returncode):
        raise Failed(f"`{' '.join(command)}`: {end_of(done.returncode)}, not {expected}: {said_by(done.stderr)}")
    return done.stdout


def ask_quietly(command):
    try:
        ask(command, expected=None)
    except Failed:
        pass


def ask_without_pipes(command, output):
    """Like ask, for a call that leaves a process with its standard streams."""
    with open(output, "w+") as file:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT,
                              timeout=HANG).returncode
        file.seek(0)
        if code:
            raise Failed(f"`{' '.join(command)}`: {end_of(code)}: {said_by(file.read())}")


def reap():
    """Reaps dead container processes: this process is their subreaper (see main), as a shim would be.

    Returns the seconds of CPU time they used.
    """
    used = 0
    try:
        while True:
            pid, _, usage = os.wait3(os.WNOHANG)
            if not pid:
                return used
            used += usage.ru_utime + usage.ru_stime
    except ChildProcessError:
        return used


def compile_c(name, directory):
    program = os.path.join(directory, name)
    try:
        ask(["gcc", "-O2", "-static", "-o", program, os.path.join(HERE, name + ".c")])
    except Failed as error:
        die(f"cannot build {name}: {error}")
    return program


def shared_objects(path):
    """Total size of the shared objects that the dynamic loader would map for PATH; 0 for a static program."""
    listing = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    objects = {os.path.realpath(found) for found in re.findall(r"(/\S+) \(0x", listing)}
    return sum(os.path.getsize(found) for found in objects)


def progress(what, number, rounds):
    if sys.stderr.isatty():
        end = "\r" if number + 1 < rounds else "\r\033[K"
        print(f"{what}: round {max(number + 1, 0)} of {rounds} ", end=end, file=sys.stderr, flush=True)


def options(parser, patience):
    """The options that every bench has."""
    parser.add_argument("--orlop", default=ORLOP, metavar="PATH",
                        help="default: the build of this repository with the profile dist")
    parser.add_argument("--crun", default="crun", metavar="PATH")
    parser.add_argument("--runc", default="runc", metavar="PATH")
    parser.add_argument("--json", metavar="FILE", help="write the numbers to FILE")
    parser.add_argument("--check", action="store_true", help="exit with 3 if orlop exceeds a limit")
    parser.add_argument("--patience", type=float, default=patience, metavar="S",
                        help="total number of seconds to wait for idle CPUs (default: %(default)g)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # already under pure-v2


def enter(arguments, argv, name):
    """Executes the program again inside ../pure-v2, or returns there a directory on its tmpfs."""
    if not arguments.inside:
        pure_v2 = os.path.join(os.path.dirname(HERE), "pure-v2")
        os.execv(pure_v2, [pure_v2, sys.executable, os.path.abspath(sys.argv[0]), *argv, "--inside"])

    def interrupted(number, _):
        # Ignore further signals; anything still running or mounted goes away with the namespaces and cgroup of pure-v2.
        for each in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            signal.signal(each, signal.SIG_IGN)
        print(f"\n{name}: killed by {signal.Signals(number).name}", file=sys.stderr)
        sys.exit(128 + number)

    for each in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(each, interrupted)
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: containers whose runtime has exited become our children, see reap()
    return tempfile.mkdtemp(prefix=f"{name}-", dir="/run")


def write_files(*files):
    """Pairs of a path, or None, and a text."""
    for path, text in files:
        if path:
            with open(path, "w") as file:
                file.write(text)


def allow_memlock():
    """Makes crun 1.x work for root without CAP_SYS_RESOURCE; returns a note for the report, or "".

    crun raises RLIMIT_MEMLOCK before it loads the device filter and fails if it is not permitted to, although Linux has
    not charged BPF to that limit since 5.11. If raising is not permitted, a seccomp filter around *all* measured
    processes makes the attempt succeed without effect. The kernel keeps a bitmap of the calls that a filter always
    allows, so the filter has no measurable cost.
    """
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limits[0], resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
        return ""
    except (ValueError, PermissionError):
        pass
    audit_arch, prlimit64 = {"x86_64": (0xC000003E, 302), "aarch64": (0xC00000B7, 261)}[platform.machine()]
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in [
        (load, 0, 0, 4), (equal, 0, 7, audit_arch),  # seccomp_data.arch
        (load, 0, 0, 0), (equal, 0, 5, prlimit64),  # .nr
        (load, 0, 0, 24), (equal, 0, 3, resource.RLIMIT_MEMLOCK),  # .args[1]: which limit
        (load, 0, 0, 32), (equal, 1, 0, 0),  # .args[2]: null for a query
        (answer, 0, 0, 0x00050000),  # SECCOMP_RET_ERRNO | 0
        (answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ])
    buffer = ctypes.create_string_buffer(program)
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    fprog = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(buffer)))
    prctl(22, 2, ctypes.addressof(fprog))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    return "no CAP_SYS_RESOURCE: raising RLIMIT_MEMLOCK is made to succeed without effect (seccomp, for all runtimes)"


def prctl(option, second, third=0):
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(second), ctypes.c_ulong(third), zero, zero) != 0:
        die(f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def die(text):
    print(f"bench: {text}", file=sys.stderr)
    sys.exit(125)
