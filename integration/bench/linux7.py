#!/usr/bin/env python3
"""linux7.py ORLOP: the time of `create` by how many mounts the host has, with both ways to make a mount namespace, beside crun and
runc. Run by `make bench-linux7` in a guest with Linux 7 as root; everything is in a private mount namespace.

Each runtime is called by a worker of its own, which is forked from one process. That of the second way runs under the personality
UNAME26: uname(2) names an old release then, and orlop does not ask the kernel for more. The workers take turns, in random order.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
MOUNTS = [30, 300, 3000]
ROUNDS = 25
AT_ONCE = 64
STATE = "/run/linux7"


def quiet(*words):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def remove(command, name):
    done = quiet(*command, "delete", "--force", name)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr.decode()}")


def worker(command):
    """Reads how many containers to create at once; writes the milliseconds until all of them are created."""
    count = 0
    for line in sys.stdin:
        names = [f"c{count + number}" for number in range(int(line))]
        count += len(names)
        begin = time.monotonic()
        created = [
            subprocess.Popen([*command, "create", "--bundle", f"{STATE}/bundle", name], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=open(f"{STATE}/{name}.err", "w"))
            for name in names
        ]
        codes = [process.wait() for process in created]
        took = 1000 * (time.monotonic() - begin)
        for name, code in zip(names, codes):
            if code:
                sys.exit(f"{command[0]}: {open(f'{STATE}/{name}.err').read()}")
            remove(command, name)
        print(took, flush=True)


def bundle():
    root = f"{STATE}/bundle/rootfs"
    for name in ["bin", "proc", "dev", "sys", "tmp"]:
        os.makedirs(f"{root}/{name}", exist_ok=True)
    with open("/bin/busybox", "rb") as source, open(f"{root}/bin/busybox", "wb") as target:
        target.write(source.read())
    os.chmod(f"{root}/bin/busybox", 0o755)
    with open(f"{HERE}/config.json") as file:
        config = json.load(file)
    config["process"]["args"] = ["/bin/busybox", "true"]
    with open(f"{STATE}/bundle/config.json", "w") as file:
        json.dump(config, file)


def add_mounts(total):
    """Bind mounts until this mount namespace has that many."""
    with open("/proc/self/mountinfo") as file:
        have = len(file.readlines())
    table = f"{STATE}/fstab"
    with open(table, "w") as file:
        for number in range(have, total):
            place = f"{STATE}/m/{number}"
            os.makedirs(place, exist_ok=True)
            file.write(f"{place} {place} none bind 0 0\n")
    subprocess.run(["mount", "--all", "--fstab", table], check=True)


def main(orlop):
    os.makedirs(STATE, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", STATE], check=True)
    bundle()
    columns = {"orlop": ([], orlop), "orlop, the old way": (["setarch", "--uname-2.6"], orlop)}
    columns |= {name: ([], name) for name in ["crun", "runc"] if not quiet(name, "--version").returncode}
    workers = {}
    for number, (name, (wrapper, program)) in enumerate(columns.items()):
        command = [*wrapper, sys.executable, __file__, "--worker", program, "--root", f"{STATE}/state{number}"]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(name, count):
        process = workers[name]
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            sys.exit(f"{name}: no answer")
        return float(answer)

    print(f"| mounts | | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}", flush=True)
    for mounts in MOUNTS:
        add_mounts(mounts)
        for what, count, rounds in [("`create`", 1, ROUNDS), (f"{AT_ONCE} `create` at once", AT_ONCE, 3)]:
            times = {name: [] for name in columns}
            for _ in range(rounds):
                for name in random.sample(list(columns), len(columns)):
                    times[name].append(measure(name, count))
            row = " | ".join(f"{statistics.median(times[name]):.1f}" for name in columns)
            print(f"| {mounts} | {what} | {row} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(sys.argv[2:])
    else:
        main(sys.argv[1])
