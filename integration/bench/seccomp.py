#!/usr/bin/env python3
"""Measures the cost of a seccomp filter: Docker's default profile under orlop, crun and runc, side by side.

It measures a system call from inside a container, with the containers running side by side, and the start of a container
with and without the profile. As in bench.py, the runtimes take turns in random order within one invocation. Re-executes
itself inside ../pure-v2. Exit code: 0 success, 1 a runtime is missing or failed, 3 the limit of --check is exceeded.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from bench import find_runtimes
from bundles import PROFILE
from bundles import make_bundles as default_bundles
from calling import (ENVIRONMENT, Caller, Failed, allow_memlock, compile_c, end_of, enter, options, progress, said_by, write_files)

# Calls in one burst, few enough that most bursts are not interrupted. The result is the tenth percentile, because a
# disturbance can only make a burst longer.
CALLS = {"getppid": 2000, "personality": 2000, "mount": 2000}
BURSTS = 5  # in one round
WARM_UP = 5
# --check: the limit for the time of a call under our filter relative to crun's; a smaller excess is noise.
BAR_CALL = 1.03


class Inside:
    """A container that makes calls on demand."""

    def __init__(self, name, command):
        self.name = name
        self.stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr,
                                        text=True, env=ENVIRONMENT)
        self.times = {call: [] for call in CALLS}

    def burst(self, call, count):
        """Nanoseconds for one call."""
        try:
            self.process.stdin.write(f"{call} {count}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # there will be no answer either
        answer = self.process.stdout.readline()
        if not answer:
            end = end_of(self.process.wait())
            self.stderr.seek(0)
            raise Failed(f"{self.name}: the container has stopped: {end}: {said_by(self.stderr.read())}")
        return int(answer) / count

    def end(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()


def make_bundles(directory, calls):
    """Bundles `with` and `without` the profile, each once with `calls` and once with /bin/true."""
    with open(PROFILE) as file:
        profile = json.load(file)
    bundles = default_bundles(directory)
    made = {}
    for kind in "with", "without":
        for name in "calls", "run":
            bundle = made[name, kind] = os.path.join(directory, f"{name}-{kind}")
            shutil.copytree(bundles["run"], bundle, symlinks=True)
            shutil.copy(calls, os.path.join(bundle, "rootfs/bin/calls"))
            path = os.path.join(bundle, "config.json")
            with open(path) as file:
                spec = json.load(file)
            if kind == "with":
                spec["linux"]["seccomp"] = profile
            spec["process"]["args"] = ["/bin/calls"] if name == "calls" else ["/bin/true"]
            with open(path, "w") as file:
                json.dump(spec, file)
    return made


def measure_calls(runtimes, bundles, rounds):
    inside = []
    for runtime in runtimes:
        for kind in "with", "without":
            # Without a filter all containers are alike, so one of them is enough.
            if kind == "with" or runtime is runtimes[0]:
                name = runtime.name if kind == "with" else "no filter"
                command = [runtime.path, "run", "--bundle", bundles["calls", kind], f"bench-{runtime.name}-{kind}"]
                inside.append(Inside(name, command))
    try:
        for number in range(-WARM_UP, rounds * BURSTS):
            progress("calls", number, rounds * BURSTS)
            for container, call in random.sample([(c, call) for c in inside for call in CALLS], len(inside) * len(CALLS)):
                taken = container.burst(call, CALLS[call])
                if number >= 0:
                    container.times[call].append(taken)
    finally:
        for container in inside:
            container.end()
    return {call: {c.name: statistics.quantiles(c.times[call], n=10)[0] for c in inside} for call in CALLS}


def measure_run(runtimes, bundles, caller, rounds):
    times = {(runtime.name, kind): [] for runtime in runtimes for kind in ("with", "without")}
    kinds = [(runtime, kind) for runtime in runtimes for kind in ("with", "without")]
    for number in range(-WARM_UP, rounds):
        progress("run", number, rounds)
        for runtime, kind in random.sample(kinds, len(kinds)):
            name = f"bench-{runtime.name}-{kind}{number}"
            taken = caller.time([runtime.path, "run", "--bundle", bundles["run", kind], name])
            if number >= 0:
                times[runtime.name, kind].append(taken)
    return {key: statistics.median(values) for key, values in times.items()}


def table(calls, runs, runtimes):
    lines = ["Docker's default seccomp profile, in one interleaved run", "",
             f"{'ns a call, p10':14}" + "".join(f"{name:>12}" for name in calls["getppid"])]
    for call, times in calls.items():
        lines.append(f"{call:14}" + "".join(f"{time:12.1f}" for time in times.values()))
    lines += ["", f"{'ms, median':14}{'without':>12}{'with':>12}{'difference':>12}"]
    for runtime in runtimes:
        without, with_profile = runs[runtime.name, "without"], runs[runtime.name, "with"]
        lines.append(f"{runtime.name:14}{without:12.2f}{with_profile:12.2f}{with_profile - without:12.2f}")
    return "\n".join(lines)


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="bursts of calls, and runs (default: 100)")
    options(parser, 30)
    arguments = parser.parse_args(argv)
    directory = enter(arguments, argv, "bench")
    note = allow_memlock()
    bundles = make_bundles(directory, compile_c("calls", directory))
    found, missing = find_runtimes(arguments, directory)
    runtimes = [runtime for runtime in found if runtime.name != "floor"]
    caller = Caller(directory, arguments.patience)
    try:
        calls = measure_calls(runtimes, bundles, arguments.rounds)
        runs = measure_run(runtimes, bundles, caller, arguments.rounds)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(calls, runs, runtimes))
    if note:
        print(f"\n{note}")
    for said in caller.notes():
        print(said)
    run_ms = {f"{name} {kind}": median for (name, kind), median in runs.items()}
    write_files((arguments.json, json.dumps({"ns_per_call": calls, "run_ms": run_ms}, indent=2) + "\n"))
    for name, why in missing.items():
        print(f"bench: {name}: {why}", file=sys.stderr)
    if arguments.check:
        passed = True
        for call, times in calls.items():
            ratio = times["orlop"] / times["crun"] if "crun" in times else None
            fine = ratio is not None and ratio <= BAR_CALL
            passed = passed and fine
            shown = "not measured" if ratio is None else f"{ratio:.2f}"
            print(f"{'pass' if fine else 'MISS'}  {call} / under crun's filter: {shown}, at most {BAR_CALL:.2f}")
        if not passed:
            return 3
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
