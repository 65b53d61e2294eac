#!/usr/bin/env python3
"""Times orlop, crun, runc and the floor (floor.c) side by side, as whole processes, on the default bundle.

A machine's speed varies from minute to minute, so the runtimes are not measured one after the other: every round runs
each runtime once, in a new random order, and only numbers from one invocation are compared. README.md explains the table.

Re-executes itself inside ../pure-v2, which gives it a private cgroup v2 tree and a private /run, and removes everything
at the end, even after a failure. Needs root, gcc and a static busybox. Exit code: 0 success, 1 a runtime is missing or
failed, 3 a limit of --check is exceeded, 125 the bench itself could not run, 128+n killed by signal n.
"""

import argparse
import ctypes
import gc
import html
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
ORLOP = os.path.join(REPOSITORY, "target", platform.machine() + "-unknown-linux-gnu", "release", "orlop")

# The operations in a container's life, in order. `kill` comes before `delete` and is not timed.
LIFE = ["create", "start", "state", "exec", "delete"]
# Whole containers: operation -> bundle.
RUNS = {"run": "run", "run-docker": "docker", "run-userns": "userns"}
SUM = "c+s+d"  # create, start and delete of one container
CPU = "cpu of run"  # user and system time of all processes
AT_ONCE, BATCH = 8, 40  # containers alive at the same time, and in one measurement
PARALLEL = f"{AT_ONCE} at once"  # milliseconds a container
OPERATIONS = [*RUNS, CPU, *LIFE, SUM, PARALLEL]
PROFILE = os.path.join(REPOSITORY, "tests", "profiles", "docker-default.json")
DOCKER_CAPABILITIES = ["CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE").split()]
FIRST_ID, IDS = 100000, 65536  # of a user namespace, as in floor.c

WARM_UP = 3  # rounds that do not count: page cache, first directories under /run
HANG = 20  # seconds after which a call counts as hung and is killed
PAUSE = 0.005  # seconds between calls: the kernel frees namespaces after the process is gone, outside its measured time
# The environment of all measured processes.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

# --check: the measured value must not exceed the bar.
# Of a ratio of medians: operation, base, bar.
BARS = [
    ("run", "floor", 1.15), ("run", "crun", 0.40),
    ("run-docker", "floor", 1.30), ("run-docker", "crun", 0.25),
    ("run-userns", "floor", 1.25), ("run-userns", "crun", 0.45),
    (SUM, "crun", 0.30),
    ("exec", "floor", 1.25), ("exec", "crun", 0.35),
    ("state", "floor", 1.40), ("state", "crun", 0.20),
    (CPU, "floor", 1.40), (CPU, "crun", 0.45),
]
# The least of containers per second, of those of the base.
BARS_PARALLEL = [("floor", 0.70), ("crun", 2.0)]
BAR_RSS, BAR_SIZE = 1.8e6, 4e6  # bytes

# Reported from inside a container, with busybox only. Two runtimes are comparable only if they create the same container:
# mount points (how a path is masked is up to the runtime), identity, limits, network, what is writable.
PROOF = """
export PATH=/bin
b=/bin/busybox
echo "pid $$, $(umask), files $(ulimit -n), host $($b hostname), cwd $PWD, $($b tail -n 1 /proc/self/cgroup)"
$b grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp.*):' /proc/self/status | $b tr -s ' \\t' ' '
while read -r _ _ _ _ point options _; do echo "mount $point ${options%%,*}"; done </proc/self/mountinfo |
    $b sed -E '/ .(proc|sys.firmware).*/s/ r[ow]$//' | $b sort
$b ip -o link | $b cut -d ' ' -f 2,3
for file in /x /sys/fs/cgroup/x /proc/sys/kernel/hostname /dev/x /dev/shm/x; do
    (echo x >$file) 2>/dev/null && echo "writable $file"
done
exit 42
"""


class Failed(Exception):
    """A runtime's call that failed; the text has all the details."""


# ---- Calling ---------------------------------------------------------------------------------------------------------


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

    def rate(self, commands):
        """Milliseconds a command, with AT_ONCE of them running at any time."""
        self.await_quiet()
        waiting, running = list(commands), {}
        signal.alarm(HANG)
        before = time.perf_counter_ns()
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    command = waiting.pop()
                    running[os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=self.file_actions)] = command
                self.pid = next(iter(running))
                pid, status = os.waitpid(-1, 0)
                command = running.pop(pid, None)  # None: a container that its runtime did not wait for
                if command and status != 0:
                    raise Failed(f"`{' '.join(command)}`, {AT_ONCE} at once: {end_of(os.waitstatus_to_exitcode(status))}")
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


# ---- What is measured ------------------------------------------------------------------------------------------------


class Runtime:
    def __init__(self, name, path):
        self.name = name
        self.path = path
        self.version = "-"
        self.size = os.path.getsize(path)
        self.libraries = shared_objects(path)  # bytes
        self.rss = None  # bytes
        self.failures = {}  # operation -> text; a failed operation is not tried again
        self.times = {operation: [] for operation in OPERATIONS}
        if name != "floor":
            self.version = self._version()

    def _version(self):
        try:
            return ask([self.path, "--version"]).strip().splitlines()[0]
        except (Failed, IndexError) as error:
            self.failures["--version"] = str(error) or "printed nothing"
            return "?"

    def run(self, bundles, container, bundle="run"):
        if self.name == "floor":
            with open(bundles[bundle] + "/config.json") as file:
                args = json.load(file)["process"]["args"]
            options = {"docker": ["--docker", bundles["filter"]], "userns": ["--userns"]}.get(bundle.split("-")[0], [])
            return [self.path, *options, bundles[bundle] + "/rootfs", "/sys/fs/cgroup", *args]
        return [self.path, "run", "--bundle", bundles[bundle], container]

    def life(self, operation, bundles, container):
        return {
            "create": [self.path, "create", "--bundle", bundles["life"], container],
            "start": [self.path, "start", container],
            "state": [self.path, "state", container],
            "exec": [self.path, "exec", container, "/bin/true"],
            "delete": [self.path, "delete", container],
        }[operation]


def shared_objects(path):
    """Total size of the shared objects that the dynamic loader would map for PATH; 0 for a static program."""
    listing = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    objects = {os.path.realpath(found) for found in re.findall(r"(/\S+) \(0x", listing)}
    return sum(os.path.getsize(found) for found in objects)


def make_bundles(directory):
    """Bundles with the default spec on tmpfs: `run` exits at once, `life` sleeps until killed, `proof` describes itself."""
    busybox = shutil.which("busybox")
    if not busybox or shared_objects(busybox):
        die("needs a statically linked busybox in $PATH (Debian: busybox-static)")
    with open(os.path.join(HERE, "config.json")) as file:
        spec = json.load(file)
    bundles = {}
    for name, args in ("run", ["/bin/true"]), ("life", ["/bin/sleep", "1000"]), ("proof", ["/bin/sh", "-c", PROOF]):
        bundle = bundles[name] = os.path.join(directory, name)
        for made in "bin", "proc", "dev", "sys":  # mount points exist, so that no runtime has to create them
            os.makedirs(os.path.join(bundle, "rootfs", made))
        shutil.copy(busybox, os.path.join(bundle, "rootfs/bin/busybox"))
        for applet in "true", "sleep", "sh":
            os.symlink("busybox", os.path.join(bundle, "rootfs/bin", applet))
        spec["process"]["args"] = args
        with open(os.path.join(bundle, "config.json"), "w") as file:
            json.dump(spec, file, indent="\t")
    return bundles


def add_configs(bundles, directory):
    """Bundles with Docker's config and with a user namespace; `proof` and `run` of each."""
    os.chmod(directory, 0o711)  # the user namespace's root has to reach its root file system
    with open(PROFILE) as file:
        profile = json.load(file)
    for kind in "docker", "userns":
        for name, base in (kind, "run"), (kind + "-proof", "proof"), (kind + "-life", "life"):
            bundle = bundles[name] = os.path.join(directory, name)
            shutil.copytree(bundles[base], bundle, symlinks=True)
            path = os.path.join(bundle, "config.json")
            with open(path) as file:
                spec = json.load(file)
            if kind == "docker":
                spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), DOCKER_CAPABILITIES)
                spec["process"]["noNewPrivileges"] = False
                spec["linux"]["seccomp"] = profile
            else:
                spec["linux"]["namespaces"].append({"type": "user"})
                ids = [{"containerID": 0, "hostID": FIRST_ID, "size": IDS}]
                spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = ids
                rootfs = os.path.join(bundle, "rootfs")
                for parent, directories, files in os.walk(rootfs):
                    for each in [parent, *(os.path.join(parent, below) for below in directories + files)]:
                        os.lchown(each, FIRST_ID, FIRST_ID)
            with open(path, "w") as file:
                json.dump(spec, file, indent="\t")


def save_filter(orlop, bundles, directory):
    """The filter that orlop installs for Docker's profile, read from one of its containers, for the floor.

    The kernel shows filters only to a process without one, so this comes before allow_memlock.
    """
    bundles["filter"] = os.path.join(directory, "filter.bin")
    try:
        ask_without_pipes([orlop, "create", "--bundle", bundles["docker-life"], "bench-filter"], bundles["filter"] + ".log")
        ask([orlop, "start", "bench-filter"])  # installs the filter
        pid = json.loads(ask([orlop, "state", "bench-filter"]))["pid"]
        with open(bundles["filter"], "wb") as file:
            subprocess.run([compile_c("filter", directory), str(pid)], stdout=file, check=True, timeout=HANG)
    except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        die(f"cannot read orlop's filter: {error}")
    finally:
        ask_quietly([orlop, "delete", "--force", "bench-filter"])
        reap()


def ask_without_pipes(command, output):
    """Like ask, for a call that leaves a process with its standard streams."""
    with open(output, "w+") as file:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT,
                              timeout=HANG).returncode
        file.seek(0)
        if code:
            raise Failed(f"`{' '.join(command)}`: {end_of(code)}: {said_by(file.read())}")


def compile_c(name, directory):
    program = os.path.join(directory, name)
    try:
        ask(["gcc", "-O2", "-static", "-o", program, os.path.join(HERE, name + ".c")])
    except Failed as error:
        die(f"cannot build {name}: {error}")
    return program


def find_runtimes(arguments, directory):
    """The installed runtimes, and {name: reason} for the others."""
    found, missing = [Runtime("floor", compile_c("floor", directory))], {}
    for name, wanted in ("orlop", arguments.orlop), ("crun", arguments.crun), ("runc", arguments.runc):
        path = shutil.which(wanted)
        if path:
            found.append(Runtime(name, os.path.abspath(path)))
        else:
            missing[name] = f"{wanted} is not an executable file" if "/" in wanted else f"no {wanted} in $PATH"
    return found, missing


def find_others(others):
    """The runtimes of --other, and a note for each that cannot run."""
    found, notes = [], []
    for name, wanted in others:
        path = shutil.which(wanted)
        runtime = Runtime(name, os.path.abspath(path)) if path else None
        if runtime and not runtime.failures:
            found.append(runtime)
        else:
            why = runtime.failures["--version"] if runtime else f"{wanted} is not an executable file"
            notes.append(f"{name} was skipped: {why}")
    return found, notes


# ---- Measuring -------------------------------------------------------------------------------------------------------


def prove(runtimes, bundles):
    """Excludes runtimes that do not create the same container as the floor."""
    for operation, bundle in RUNS.items():
        prove_one(runtimes, bundles, operation, "proof" if bundle == "run" else bundle + "-proof")


def prove_one(runtimes, bundles, operation, bundle):
    wanted = None
    for runtime in runtimes:  # the floor is the first
        try:
            told = ask(runtime.run(bundles, f"bench-{runtime.name}-proof", bundle), expected=42).splitlines()
        except Failed as error:
            runtime.failures[operation] = str(error)
            continue
        wanted = wanted or told
        if told != wanted:
            difference = [f"-{line}" for line in wanted if line not in told]
            difference += [f"+{line}" for line in told if line not in wanted]
            runtime.failures[operation] = "\n  ".join(["not the container that the floor creates:", *difference])


def measure_run(runtimes, bundles, caller, rounds):
    for number in range(-WARM_UP, rounds):
        progress("run", number, rounds)
        turns = [(runtime, operation) for runtime in runtimes for operation in RUNS]
        for runtime, operation in random.sample(turns, len(turns)):
            if operation in runtime.failures:
                continue
            command = runtime.run(bundles, f"bench-{runtime.name}-{operation}{number}", RUNS[operation])
            try:
                taken = caller.time(command)
            except Failed as error:
                runtime.failures[operation] = str(error)
                continue
            if number >= 0:
                runtime.times[operation].append(taken)
                if operation == "run":
                    runtime.times[CPU].append(caller.cpu)


def measure_parallel(runtimes, bundles, caller, rounds):
    for number in range(-1, rounds):
        progress(PARALLEL, number, rounds)
        for runtime in random.sample(runtimes, len(runtimes)):
            if {"run", PARALLEL} & runtime.failures.keys():
                continue
            commands = [runtime.run(bundles, f"bench-{runtime.name}-many{number}-{each}") for each in range(BATCH)]
            try:
                taken = caller.rate(commands)
            except (Failed, OSError) as error:
                runtime.failures[PARALLEL] = str(error)
                continue
            finally:
                reap()
            if number >= 0:
                runtime.times[PARALLEL].append(taken)


def measure_life(runtimes, bundles, caller, rounds, true):
    floor = runtimes[0]
    container = subprocess.Popen(floor.run(bundles, "", "life"), stdin=subprocess.DEVNULL, env=ENVIRONMENT)
    cgroup = f"/sys/fs/cgroup/floor.{container.pid}"
    time.sleep(0.2)
    with open(cgroup + "/cgroup.procs") as file:
        pid = file.read().strip()
    floors = {"exec": [floor.path, "--exec", pid, cgroup, "/bin/true"], "state": [true]}
    try:
        measure_lives(runtimes, bundles, caller, rounds, floors)
    finally:
        os.kill(int(pid), signal.SIGKILL)
        container.wait()


def measure_lives(runtimes, bundles, caller, rounds, floors):
    for number in range(-WARM_UP, rounds):
        progress("life", number, rounds)
        for runtime in random.sample(runtimes, len(runtimes)):
            if runtime.name == "floor":
                for operation in floors.keys() - runtime.failures.keys():
                    try:
                        taken = caller.time(floors[operation])
                    except Failed as error:
                        runtime.failures[operation] = str(error)
                        continue
                    if number >= 0:
                        runtime.times[operation].append(taken)
            elif not {"create", "kill"} & runtime.failures.keys():
                one_life(runtime, f"bench-{runtime.name}-life{number}", bundles, caller, number >= 0)


def one_life(runtime, container, bundles, caller, counts):
    whole = {}
    for operation in LIFE:
        if operation in runtime.failures:
            continue
        try:
            if operation == "delete":
                kill(runtime, container)
            taken = caller.time(runtime.life(operation, bundles, container))
        except Failed as error:
            # Without `kill` there is no `delete` to time; without `create` there is nothing at all.
            runtime.failures[getattr(error, "operation", operation)] = str(error)
            if operation in ("create", "delete"):
                ask_quietly([runtime.path, "delete", "--force", container])
                return
            continue
        if counts:
            runtime.times[operation].append(taken)
            whole[operation] = taken
    if {"create", "start", "delete"} <= whole.keys():
        runtime.times[SUM].append(whole["create"] + whole["start"] + whole["delete"])
    if "delete" in runtime.failures:
        ask_quietly([runtime.path, "delete", "--force", container])


def kill(runtime, container):
    """Kills the container and waits until the runtime reports it as stopped. Not timed."""
    try:
        ask([runtime.path, "kill", container, "KILL"])
        deadline = time.monotonic() + HANG
        while True:
            reap()
            state = ask([runtime.path, "state", container])
            try:
                status = json.loads(state)["status"]
            except (ValueError, KeyError, TypeError):
                raise Failed(f"state of {container} is not an OCI state: {state[:200]!r}") from None
            if status == "stopped":
                return
            if time.monotonic() > deadline:
                raise Failed(f"state of {container} is {status!r} {HANG} s after `kill {container} KILL`")
            time.sleep(0.002)
    except Failed as error:
        error.operation = "kill"
        raise


def ask_quietly(command):
    try:
        ask(command, expected=None)
    except Failed:
        pass


def measure_rss(runtimes, bundles, rss):
    """The largest of five. Not ru_maxrss of our own children, which would include this interpreter (see rss.c)."""
    for runtime in runtimes:
        if "run" in runtime.failures:
            continue
        try:
            command = runtime.run(bundles, f"bench-{runtime.name}-rss")
            runtime.rss = 1024 * max(int(ask([rss, *command]).split()[-1]) for _ in range(5))
        except (Failed, ValueError, IndexError) as error:
            runtime.failures["rss"] = str(error)
        reap()


def progress(what, number, rounds):
    if sys.stderr.isatty():
        end = "\r" if number + 1 < rounds else "\r\033[K"
        print(f"{what}: round {max(number + 1, 0)} of {rounds} ", end=end, file=sys.stderr, flush=True)


# ---- Reporting -------------------------------------------------------------------------------------------------------


def summarize(runtimes, missing, rounds, notes):
    result = {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "rounds": rounds,
        "notes": notes,
        "runtimes": {},
        "operations": {operation: {} for operation in OPERATIONS},
        "failures": [f"{name}: {why}" for name, why in missing.items()],
    }
    for runtime in runtimes:
        result["runtimes"][runtime.name] = {
            "version": runtime.version,
            "binary_bytes": runtime.size,
            "shared_object_bytes": runtime.libraries,
            "peak_rss_bytes": runtime.rss,
        }
        for operation, why in runtime.failures.items():
            result["failures"].append(f"{runtime.name} {operation}: {why}")
        for operation, times in runtime.times.items():
            if operation in runtime.failures or not times:
                continue
            times = sorted(times)
            result["operations"][operation][runtime.name] = {
                "median_ms": round(statistics.median(times), 4),
                "p10_ms": round(times[int(0.1 * (len(times) - 1))], 4),
                "p90_ms": round(times[round(0.9 * (len(times) - 1))], 4),
                "count": len(times),
            }
    return result


def ratio(result, operation, name, base):
    """Median of NAME over median of BASE; None if either was not measured."""
    medians = result["operations"][operation]
    if name in medians and base in medians:
        return medians[name]["median_ms"] / medians[base]["median_ms"]
    return None


def table(result):
    def times(value):
        return "" if value is None else f"{value:.2f}"

    lines = [f"{result['kernel']}, {result['cpus']} CPUs; times in ms, {result['rounds']['run']} rounds of run, "
             f"{result['rounds']['life']} of the others"]
    lines += [*result["notes"], "", f"{'':11}{'':8}{'median':>8}{'p10':>8}{'p90':>8}{'x floor':>9}{'x crun':>9}"]
    for operation, medians in result["operations"].items():
        for name, row in medians.items():
            floor = ratio(result, operation, name, "floor")
            crun = ratio(result, operation, name, "crun")
            lines.append(f"{operation:11}{name:8}{row['median_ms']:8.2f}{row['p10_ms']:8.2f}{row['p90_ms']:8.2f}"
                         f"{times(floor):>9}{times(crun):>9}")
    lines += ["", f"{'':8}{'peak RSS':>10}{'binary':>10}{'+ .so':>10}   version"]
    for name, row in result["runtimes"].items():
        lines.append(f"{name:8}{megabytes(row['peak_rss_bytes']):>10}{megabytes(row['binary_bytes']):>10}"
                     f"{megabytes(row['shared_object_bytes']) if row['shared_object_bytes'] else 'static':>10}"
                     f"   {row['version']}")
    rates = [f"{name} {1000 / row['median_ms']:.0f}" for name, row in result["operations"][PARALLEL].items()]
    lines += ["", f"containers per second, {PARALLEL}: {', '.join(rates)}"]
    return "\n".join(lines)


def megabytes(count):
    return "-" if count is None else f"{count / 1e6:.2f} MB"


def judge(result):
    """[(text, passed)] for --check. A value that could not be measured has not passed."""
    orlop = result["runtimes"].get("orlop", {})
    judged = []
    for what, measured, bar, unit in [
        *((f"{operation} / {base}'s", ratio(result, operation, "orlop", base), bar, "") for operation, base, bar in BARS),
        ("peak RSS of run", orlop.get("peak_rss_bytes"), BAR_RSS, "MB"),
        ("size of the binary", orlop.get("binary_bytes"), BAR_SIZE, "MB"),
    ]:
        shown = "not measured" if measured is None else megabytes(measured) if unit else f"{measured:.2f}"
        limit = megabytes(bar) if unit else f"{bar:.2f}"
        judged.append((f"{what}: {shown}, at most {limit}", measured is not None and measured <= bar))
    for base, bar in BARS_PARALLEL:
        measured = ratio(result, PARALLEL, base, "orlop")  # of times, so turned around for rates
        shown = "not measured" if measured is None else f"{measured:.2f}"
        judged.append((f"containers per second, {PARALLEL} / {base}'s: {shown}, at least {bar:.2f}",
                       measured is not None and measured >= bar))
    return judged


COLORS = {"floor": "#9aa5b1", "orlop": "#1864ab", "crun": "#e8890c", "runc": "#7a5195"}


def color(name):
    return COLORS.get(name, "#5c940d")  # of --other


def svg(result):
    """Horizontal bars, grouped by operation; whiskers from p10 to p90. Has a background, to be readable in dark mode."""
    left, right, bar, gap, group, top = 100, 96, 15, 3, 16, 84
    width = 760
    operations = {name: rows for name, rows in result["operations"].items() if rows}
    longest = max((row["p90_ms"] for rows in operations.values() for row in rows.values()), default=1)
    scale = (width - left - right) / longest
    body, y = [], top
    for operation, rows in operations.items():
        middle = y + (len(rows) * (bar + gap) - gap) / 2
        body.append(f'<text x="{left - 12}" y="{middle + 4.5:.1f}" text-anchor="end" font-weight="600">'
                    f"{operation}</text>")
        for name, row in rows.items():
            length, center = max(row["median_ms"] * scale, 1), y + bar / 2
            low, high = left + row["p10_ms"] * scale, left + row["p90_ms"] * scale
            body.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" rx="2" fill="{color(name)}">'
                        f"<title>{operation} {name}: median {row['median_ms']:.2f} ms, p10 {row['p10_ms']:.2f}, "
                        f"p90 {row['p90_ms']:.2f}</title></rect>")
            body.append(f'<path d="M{low:.1f} {center}H{high:.1f}M{low:.1f} {center - 3}v6M{high:.1f} {center - 3}v6" '
                        f'stroke="#1f2933" stroke-opacity=".55" fill="none"/>')
            body.append(f'<text x="{max(left + length, high) + 6:.1f}" y="{center + 4}" font-size="11.5">'
                        f"{row['median_ms']:.2f} ms</text>")
            y += bar + gap
        y += group
    height = y + 8
    x, legend = left, []
    for name, row in result["runtimes"].items():
        number = re.search(r"\d+(\.\d+)+", row["version"])
        label = f"{name} {number[0]}" if number else name
        legend.append(f'<rect x="{x}" y="54" width="11" height="11" rx="2" fill="{color(name)}"/>'
                      f'<text x="{x + 16}" y="64">{html.escape(label)}</text>')
        x += 48 + 8 * len(label)
    busy = "; on a busy machine" if any(note.startswith("BUSY") for note in result["notes"]) else ""
    subtitle = html.escape(f"Median; whiskers from p10 to p90. {result['kernel']}, {result['cpus']} CPUs{busy}")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933" role="img" '
        f'aria-label="Time per operation, by container runtime">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#fbfbf9"/>',
        f'<text x="{left}" y="24" font-size="15" font-weight="600">Time per operation, default bundle</text>',
        f'<text x="{left}" y="41" font-size="11" fill="#52606d">{subtitle}</text>',
        *legend, *body, "</svg>", ""])


# ---- Putting it together ---------------------------------------------------------------------------------------------


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


def other(text):
    name, equals, path = text.partition("=")
    if not (name and equals and path) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in COLORS:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH, with a new NAME of letters, digits and -_.")
    return name, path


def arguments_of(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, metavar="N",
                        help="rounds of run; the other operations get a quarter as many (default: 200)")
    parser.add_argument("--orlop", default=ORLOP, metavar="PATH", help="default: the release build of this repository")
    parser.add_argument("--crun", default="crun", metavar="PATH")
    parser.add_argument("--runc", default="runc", metavar="PATH")
    parser.add_argument("--other", action="append", default=[], type=other, metavar="NAME=PATH",
                        help="another runtime to measure, skipped if it cannot run; can be repeated")
    parser.add_argument("--json", metavar="FILE", help="write the numbers to FILE")
    parser.add_argument("--svg", metavar="FILE", help="write a bar chart to FILE")
    parser.add_argument("--check", action="store_true", help="exit with 3 if orlop exceeds a limit")
    parser.add_argument("--patience", type=float, default=60, metavar="S",
                        help="total number of seconds to wait for idle CPUs (default: 60)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # already under pure-v2
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def main(argv):
    arguments = arguments_of(argv)
    if not arguments.inside:
        pure_v2 = os.path.join(os.path.dirname(HERE), "pure-v2")
        os.execv(pure_v2, [pure_v2, sys.executable, os.path.abspath(__file__), *argv, "--inside"])

    def interrupted(number, _):
        # Ignore further signals; anything still running or mounted goes away with the namespaces and cgroup of pure-v2.
        for each in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            signal.signal(each, signal.SIG_IGN)
        print(f"\nbench: killed by {signal.Signals(number).name}", file=sys.stderr)
        sys.exit(128 + number)

    for each in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(each, interrupted)

    directory = tempfile.mkdtemp(prefix="bench-", dir="/run")  # pure-v2's tmpfs
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: containers whose runtime has exited become our children, see reap()
    bundles = make_bundles(directory)
    add_configs(bundles, directory)
    if shutil.which(arguments.orlop):
        save_filter(os.path.abspath(shutil.which(arguments.orlop)), bundles, directory)
    note = allow_memlock()
    rss = compile_c("rss", directory)
    runtimes, missing = find_runtimes(arguments, directory)
    others, skipped = find_others(arguments.other)
    runtimes += others
    caller = Caller(directory, arguments.patience)
    rounds = {"run": arguments.rounds, "life": max(1, arguments.rounds // 4)}

    prove(runtimes, bundles)
    gc.disable()
    measure_run(runtimes, bundles, caller, rounds["run"])
    measure_life(runtimes, bundles, caller, rounds["life"], compile_c("true", directory))
    measure_parallel(runtimes, bundles, caller, max(1, arguments.rounds // 10))
    gc.enable()
    measure_rss(runtimes, bundles, rss)

    notes = [*([note] if note else []), *skipped]
    if caller.disturbed > caller.calls / 10:
        notes.append(f"BUSY: {100 * caller.disturbed // caller.calls} % of the calls found other processes running; "
                     f"all ratios are pulled towards 1, do not trust them")
    result = summarize(runtimes, missing, rounds, notes)
    judged = judge(result) if arguments.check else []
    if judged:
        result["checks"] = [{"check": text, "passed": passed} for text, passed in judged]
    print(table(result))
    for path, text in (arguments.json, json.dumps(result, indent=2) + "\n"), (arguments.svg, svg(result)):
        if path:
            with open(path, "w") as file:
                file.write(text)
    if judged:
        print()
        for text, passed in judged:
            print(f"{'pass' if passed else 'MISS'}  {text}")
    if result["failures"]:
        print()
        sys.stdout.flush()
        for failure in result["failures"]:
            print(f"bench: {failure}", file=sys.stderr)
    if not all(passed for _, passed in judged):
        return 3
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
