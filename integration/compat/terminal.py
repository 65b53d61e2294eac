#!/usr/bin/env python3
"""terminal.py OUTPUT COMMAND [ARG...]: run COMMAND in a new terminal, and save its output in OUTPUT.

runc's suite needs a terminal, and a standard input that never ends. Containers that a case leaves behind are adopted and
reaped here: on many machines the first process does not reap, and a case that waits for their end would fail.
"""
import ctypes
import os
import pty
import re
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.argv[2], sys.argv[2:])

    def reap(*_):
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return

    signal.signal(signal.SIGCHLD, reap)
    written = b""
    with open(sys.argv[1], "wb") as output:
        while True:
            if not select.select([terminal], [], [], 5)[0]:
                # A helper that outlives its case keeps bats' pipes open, and bats would wait for it forever.
                plan = re.search(rb"^1\.\.(\d+)", written, re.MULTILINE)
                if plan and len(re.findall(rb"^(?:not )?ok \d+", written, re.MULTILINE)) >= int(plan[1]):
                    os.kill(child, signal.SIGTERM)
                    return
                continue
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                return
            if not chunk:
                return
            written += chunk.replace(b"\r", b"")
            output.write(chunk.replace(b"\r", b""))
            output.flush()


main()
