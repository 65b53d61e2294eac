#!/usr/bin/env python3
"""Times orlop, crun and runc with many containers alive, and the memory that each container takes.

One runtime after the other fills a machine with sleeping containers, creating and starting one at a time. `create` is timed for
each; at each of SIZES, so are `state`, `exec` of /bin/true and `list`. Then all are killed and deleted. The floor of bench.py
runs a container of its own beside the first and the last creations, to tell what the kernel itself takes longer.

Re-executes itself inside ../pure-v2, as bench.py does, with the same exit codes.
"""

import argparse
import gc
import json
import os
import platform
import random
import statistics
import sys
import time

sys.dont_write_bytecode = True

import chart
from bench import find_runtimes
from bundles import make_bundles
from calling import HANG, Caller, Failed, allow_memlock, ask, enter, options, progress, write_files

SIZES = [10, 1000, 3000]  # containers alive
SAMPLE = 100  # creations around the first and the last size that are compared
CALLS = 30  # of each verb that is timed at a size
LISTS = 9
# --check: creating the last may take this much longer than creating the first, of medians, and list of the last size this
# much longer for each container than list of the one before.
BAR_CREATE, BAR_LIST = 1.05, 1.15


def memory_in_use():
    """Bytes that the whole machine has in use. What caches can give back does not count."""
    with open("/proc/meminfo") as file:
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    return values["MemTotal"] - values["MemAvailable"]


def settled_memory():
    """The least of some readings: the kernel frees much a moment later."""
    least = memory_in_use()
    for _ in range(20):
        time.sleep(0.05)
        least = min(least, memory_in_use())
    return least


class Machine:
    """One runtime, and its containers."""

    def __init__(self, runtime, bundles, caller, directory):
        self.runtime, self.caller = runtime, caller
        self.root = os.path.join(directory, "state-" + runtime.name)
        self.bundle = bundles["life"]
        self.creations = []  # milliseconds, in order
        self.floors = {"first": [], "last": []}  # milliseconds of `run` under the floor
        self.at = {}  # size -> {verb: milliseconds}
        self.alive = []
        self.memory = None  # bytes a container
        self.deletion = None  # milliseconds a container

    def command(self, *words):
        return [self.runtime.path, "--root", self.root, *words]

    def add(self):
        container = f"scale-{len(self.alive)}"
        self.alive.append(container)
        taken = self.caller.time(self.command("create", "--bundle", self.bundle, container))
        self.creations.append(taken)
        self.caller.time(self.command("start", container))

    def fill(self, sizes, floor):
        before = settled_memory()
        for size in sizes:
            while len(self.alive) < size:
                number = len(self.alive)
                progress(f"{self.runtime.name} create", number, sizes[-1])
                for when, beside in ("first", number < SAMPLE), ("last", number >= sizes[-1] - SAMPLE):
                    if beside:
                        self.floors[when].append(self.caller.time(floor))
                self.add()
            self.measure(size)
        self.memory = (settled_memory() - before) / len(self.alive)

    def measure(self, size):
        chosen = random.sample(self.alive, min(CALLS, size))
        calls = {
            "state": [self.command("state", container) for container in chosen],
            "exec": [self.command("exec", container, "/bin/true") for container in chosen],
            "list": [self.command("list")] * LISTS,
        }
        self.at[size] = {verb: statistics.median(map(self.caller.time, commands)) for verb, commands in calls.items()}
        listed = json.loads(ask(self.command("list", "--format", "json")))
        if {each["id"] for each in listed} != set(self.alive):
            raise Failed(f"`list` has {len(listed)} containers, not the {size} that are alive")

    def clear(self):
        """Kills and deletes all containers. Only the calls of `delete` are timed."""
        times = []
        for number, container in enumerate(self.alive):
            progress(f"{self.runtime.name} delete", number, len(self.alive))
            try:
                ask(self.command("kill", container, "KILL"))
            except Failed:
                pass  # was not created
        reap_all(len(self.alive))
        for container in self.alive:
            times.append(self.caller.time(self.command("delete", "--force", container)))
        self.alive = []
        self.deletion = statistics.median(times) if times else None

    def medians(self):
        """Of the creations around the first and the last size."""
        return statistics.median(self.creations[:SAMPLE]), statistics.median(self.creations[-SAMPLE:])


def reap_all(count):
    """Waits until the killed containers have ended: they are children of this process (see bench.py)."""
    deadline = time.monotonic() + HANG + count * 0.01
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.002)
        except ChildProcessError:
            return


# ---- Reporting -------------------------------------------------------------------------------------------------------


def summarize(machines, sizes, notes, failures):
    result = {"kernel": f"{platform.system()} {platform.release()} {platform.machine()}", "cpus": os.cpu_count(), "sizes": sizes,
              "notes": notes, "failures": failures, "runtimes": {}}
    for machine in machines:
        first, last = machine.medians()
        width = max(1, len(machine.creations) // 60)
        result["runtimes"][machine.runtime.name] = {
            "version": machine.runtime.version,
            "create_first_ms": round(first, 4),
            "create_last_ms": round(last, 4),
            "floor_first_ms": round(statistics.median(machine.floors["first"]), 4),
            "floor_last_ms": round(statistics.median(machine.floors["last"]), 4),
            "at": {size: {verb: round(taken, 4) for verb, taken in row.items()} for size, row in machine.at.items()},
            "delete_ms": round(machine.deletion, 4),
            "bytes_per_container": round(machine.memory),
            "creations": [[min(start + width, len(machine.creations)), round(statistics.median(machine.creations[start:start + width]), 4)]
                          for start in range(0, len(machine.creations), width)],
        }
    return result


def table(result):
    sizes = result["sizes"]
    lines = [f"{result['kernel']}, {result['cpus']} CPUs; medians in ms", *result["notes"], ""]
    heads = [f"create, first {SAMPLE}", f"create, last {SAMPLE}", "ratio", "ratio of the floor"]
    heads += [f"{verb} at {size}" for verb in ("state", "exec", "list") for size in sizes]
    heads += ["delete", "KB a container"]
    lines.append(f"{'':22}" + "".join(f"{name:>9}" for name in result["runtimes"]))
    columns = []
    for row in result["runtimes"].values():
        column = [f"{row['create_first_ms']:.2f}", f"{row['create_last_ms']:.2f}",
                  f"{row['create_last_ms'] / row['create_first_ms']:.2f}", f"{row['floor_last_ms'] / row['floor_first_ms']:.2f}"]
        column += [f"{row['at'][size][verb]:.2f}" for verb in ("state", "exec", "list") for size in sizes]
        columns.append([*column, f"{row['delete_ms']:.2f}", f"{row['bytes_per_container'] / 1024:.0f}"])
    for number, head in enumerate(heads):
        lines.append(f"{head:22}" + "".join(f"{column[number]:>9}" for column in columns))
    return "\n".join(lines)


def judge(result):
    """[(text, passed)] for --check. What could not be measured has not passed."""
    row = result["runtimes"].get("orlop")
    if not row:
        return [("orlop was not measured", False)]
    ratio = row["create_last_ms"] / row["create_first_ms"]
    *_, before, last = result["sizes"]
    lists = row["at"][last]["list"] / last / (row["at"][before]["list"] / before)
    return [
        (f"create, last {SAMPLE} / first {SAMPLE}: {ratio:.2f}, at most {BAR_CREATE:.2f}", ratio <= BAR_CREATE),
        (f"list for each of {last} / of {before}: {lists:.2f}, at most {BAR_LIST:.2f}", lists <= BAR_LIST),
    ]


def svg(result):
    creations = {name: row["creations"] for name, row in result["runtimes"].items()}
    lists = {name: [[size, at["list"]] for size, at in row["at"].items()] for name, row in result["runtimes"].items()}
    return chart.lines(
        "With many containers alive", f"Medians in ms by the number of containers. {result['kernel']}, {result['cpus']} CPUs",
        {name: row["version"] for name, row in result["runtimes"].items()},
        [("create", "containers alive", creations), ("list", "containers alive", lists)])


# ---- Putting it together ---------------------------------------------------------------------------------------------


def arguments_of(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), metavar="N,N…", help="default: %(default)s")
    parser.add_argument("--svg", metavar="FILE", help="write a chart to FILE")
    options(parser, 60)
    arguments = parser.parse_args(argv)
    try:
        arguments.sizes = sorted({int(size) for size in arguments.sizes.split(",")})
    except ValueError:
        parser.error(f"--sizes {arguments.sizes!r}: not numbers separated by commas")
    if len(arguments.sizes) < 2 or arguments.sizes[0] < 1:
        parser.error("--sizes: at least two different numbers from 1")
    return arguments


def main(argv):
    arguments = arguments_of(argv)
    directory = enter(arguments, argv, "scale")
    note = allow_memlock()
    bundles = make_bundles(directory)
    runtimes, missing = find_runtimes(arguments, directory)
    floor = runtimes[0].run(bundles, "")
    caller = Caller(directory, arguments.patience)
    machines, failures = [], [f"{name}: {why}" for name, why in missing.items()]
    gc.disable()
    for runtime in runtimes[1:]:
        machine = Machine(runtime, bundles, caller, directory)
        try:
            machine.fill(arguments.sizes, floor)
            machine.clear()
            machines.append(machine)
        except (Failed, OSError, ValueError, KeyError) as error:
            failures.append(f"{runtime.name}: {error}")
            machine.clear()
    notes = [*([note] if note else []), *caller.notes()]
    result = summarize(machines, arguments.sizes, notes, failures)
    print(table(result))
    write_files((arguments.json, json.dumps(result, indent=2) + "\n"), (arguments.svg, svg(result)))
    judged = judge(result) if arguments.check else []
    for text, passed in judged:
        print(f"{'pass' if passed else 'MISS'}  {text}")
    sys.stdout.flush()
    for failure in failures:
        print(f"scale: {failure}", file=sys.stderr)
    if not all(passed for _, passed in judged):
        return 3
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
