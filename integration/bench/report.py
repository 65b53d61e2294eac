"""What bench.py found, as a table, as a picture, and against the limits of --check."""

import os
import platform
import statistics

import chart

# The operations in a container's life, in order. `kill` comes before `delete` and is not timed.
LIFE = ["create", "start", "state", "exec", "delete"]
# Whole containers: operation -> bundle.
RUNS = {"run": "run", "run-docker": "docker", "run-userns": "userns"}
SUM = "c+s+d"  # create, start and delete of one container
CPU = "cpu of run"  # user and system time of all processes
AT_ONCE, BATCH = 8, 40  # containers alive at the same time, and in one measurement
PARALLEL = f"{AT_ONCE} at once"  # milliseconds a container
OPERATIONS = [*RUNS, CPU, *LIFE, SUM, PARALLEL]
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


def svg(result):
    busy = "; on a busy machine" if any(note.startswith("BUSY") for note in result["notes"]) else ""
    return chart.bars(
        "Time per operation, default bundle",
        f"Median; whiskers from p10 to p90. {result['kernel']}, {result['cpus']} CPUs{busy}",
        {name: row["version"] for name, row in result["runtimes"].items()},
        {name: rows for name, rows in result["operations"].items() if rows})
