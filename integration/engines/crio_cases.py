"""Cases of `cri` that only CRI-O has: its annotations, hooks, notifier of system calls, pauses, and restarts."""

import base64
import json
import socket
import subprocess
import time
from pathlib import Path

from __main__ import BINARY, ENGINE, EXITED, RUNNING, RUNTIME_DEFAULT, SOCKET, Pod, call, equal, has, pod, until

HOOK = """#!/bin/sh
echo "$1 $(tr -d '\\n')" >>/run/hooks/seen
"""


def prepare():
    """Is called before CRI-O starts."""
    Path("/run/hooks").mkdir()
    Path("/run/hooks/hook").write_text(HOOK)
    Path("/run/hooks/hook").chmod(0o755)
    for stage in ("createRuntime", "poststart", "poststop"):
        hook = {"version": "1.0.0", "hook": {"path": "/run/hooks/hook", "args": ["hook", stage]}, "stages": [stage],
                "when": {"annotations": {"^with-hook$": "yes"}}}
        Path(f"/run/hooks/{stage}.json").write_text(json.dumps(hook))


def http(path):
    """What `crio status` and others send to the same socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(SOCKET)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: crio\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile().readline().split(" ", 1)[1].strip()


def frozen(container):
    return "frozen 1" in container.limit("cgroup.events")


def case_pause_and_resume():
    container = pod().start("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done")
    equal((http(f"/pause/{container.id}"), frozen(container)), ("200 OK", True))
    has(http(f"/pause/{container.id}"), "409")
    equal((http(f"/unpause/{container.id}"), frozen(container)), ("200 OK", False))
    # A paused container is stopped after it has been resumed.
    equal((http(f"/pause/{container.id}"), frozen(container)), ("200 OK", True))
    call("StopContainer", container_id=container.id, timeout=20)
    equal(container.status()["exit_code"], 9)


def case_hooks():
    seen = Path("/run/hooks/seen")
    mine = Pod()
    container = mine.start("sleep", "1000", annotations={"with-hook": "yes"})
    pid = json.loads(subprocess.run([BINARY, "--root", "/run/tested", "state", container.id], check=True, stdout=subprocess.PIPE).stdout)["pid"]
    mine.start("sleep", "1000")
    mine.remove()
    until("the last hook", lambda: "poststop" in seen.read_text())
    lines = [line.split(" ", 1) for line in seen.read_text().splitlines()]
    states = [json.loads(state) for _, state in lines]
    equal([stage for stage, _ in lines], ["createRuntime", "poststart", "poststop"])
    equal([state["status"] for state in states], ["creating", "running", "stopped"])
    equal({state["id"] for state in states}, {container.id})
    equal(states[1]["pid"], pid)


def case_user_namespace_by_annotation():
    mine = Pod(annotations={"userns-mode.crio.io": "auto:size=4096"})
    seen = mine.sees("cat /proc/self/uid_map; stat -c %u:%g /etc/passwd; touch /new && echo written").split()
    equal((seen[0], seen[2], seen[3:]), ("0", "4096", ["0:0", "written"]))
    equal(int(seen[1]) > 0, True)
    mine.remove()


def case_seccomp_notifier_stops_a_container():
    mine = Pod(annotations={"seccomp-notifier-action.crio.io": "stop"})
    container = mine.start("sleep", "1000", security={"seccomp": {"profile_type": RUNTIME_DEFAULT}})
    container.exec("hostname", "other", status=1)
    equal(container.status()["state"], RUNNING)
    status = container.ended()
    equal((status["reason"], "sethostname (1x)" in status["message"]), ("seccomp killed", True))
    mine.remove()


def case_annotations_for_devices_memory_and_umask():
    mine = Pod(annotations={"devices.crio.io": "/dev/fuse:/dev/named:r", "shm-size.crio.io": "1Mi", "umask.crio.io": "077"})
    has(mine.sees("grep ' /dev/shm ' /proc/mounts"), "size=1024k")
    equal(mine.sees("(: </dev/named) && echo read; (: >/dev/named) 2>/dev/null || echo refused; umask"), "read refused 0077")
    mine.remove()


def case_unified_by_annotation():
    value = base64.b64encode(b"33554432").decode()
    mine = Pod(annotations={"unified-cgroup.crio.io/named": f"memory.high={value}"})
    equal(mine.start("sleep", "1000", labels={"io.kubernetes.container.name": "named"}).limit("memory.high"), "33554432")
    mine.remove()


def case_writable_cgroups():
    mine = Pod(annotations={"cgroup2-mount-hierarchy-rw.crio.io": "true"})
    equal(mine.sees("mkdir /sys/fs/cgroup/child && rmdir /sys/fs/cgroup/child && echo made"), "made")
    equal(pod().sees("mkdir /sys/fs/cgroup/child 2>/dev/null || echo refused"), "refused")
    mine.remove()


def case_restart_of_the_engine():
    container = pod().start("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    ended = pod().start("sh", "-c", "sleep 1; exit 5")
    until("it to be ready", lambda: "ready" in container.printed())
    ENGINE.stop()
    time.sleep(1.5)
    ENGINE.start()
    equal((container.status()["state"], ended.status()["state"], ended.status()["exit_code"]), (RUNNING, EXITED, 5))
    equal(container.exec("echo", "still there"), "still there")
    call("StopContainer", container_id=container.id, timeout=20)
    equal(container.status()["exit_code"], 9)
