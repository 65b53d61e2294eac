#!/usr/bin/env python3
"""Times orlop, crun, runc and the floor (floor.c) side by side, as whole processes, on the default bundle.

A machine's speed varies from minute to minute, so the runtimes are not measured one after the other: every round runs
each runtime once, in a new random order, and only numbers from one invocation are compared. README.md explains the table.

Re-executes itself inside ../pure-v2, which gives it a private cgroup v2 tree and a private /run, and removes everything
at the end, even after a failure. Needs root, gcc and a static busybox. Exit code: 0 success, 1 a runtime is missing or
failed, 3 a limit of --check is exceeded, 125 the bench itself could not run, 128+n killed by signal n.
"""

import argparse
import gc
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from bundles import add_configs, make_bundles, save_filter
from calling import (ENVIRONMENT, HANG, Caller, Failed, allow_memlock, ask, ask_quietly, compile_c, enter, options, progress, reap,
                     shared_objects, write_files)
from chart import COLORS
from report import AT_ONCE, BATCH, CPU, LIFE, OPERATIONS, PARALLEL, RUNS, SUM, judge, summarize, svg, table

WARM_UP = 3  # rounds that do not count: page cache, first directories under /run


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
            options = {"docker": ["--docker", bundles.get("filter")], "userns": ["--userns"]}.get(bundle.split("-")[0], [])
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
                taken = caller.rate(commands, AT_ONCE)
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


# ---- Putting it together ---------------------------------------------------------------------------------------------


def other(text):
    name, equals, path = text.partition("=")
    if not (name and equals and path) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in COLORS:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH, with a new NAME of letters, digits and -_.")
    return name, path


def arguments_of(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, metavar="N",
                        help="rounds of run; the other operations get a quarter as many (default: 200)")
    parser.add_argument("--other", action="append", default=[], type=other, metavar="NAME=PATH",
                        help="another runtime to measure, skipped if it cannot run; can be repeated")
    parser.add_argument("--svg", metavar="FILE", help="write a bar chart to FILE")
    options(parser, 60)
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def main(argv):
    arguments = arguments_of(argv)
    directory = enter(arguments, argv, "bench")
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

    notes = [*([note] if note else []), *skipped, *caller.notes()]
    result = summarize(runtimes, missing, rounds, notes)
    judged = judge(result) if arguments.check else []
    if judged:
        result["checks"] = [{"check": text, "passed": passed} for text, passed in judged]
    print(table(result))
    write_files((arguments.json, json.dumps(result, indent=2) + "\n"), (arguments.svg, svg(result)))
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
