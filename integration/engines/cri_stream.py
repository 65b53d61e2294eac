"""Cases of `cri` for Exec, Attach and PortForward, whose streams go over HTTP and not over gRPC. The client is what `kubectl` is: a
WebSocket (RFC 6455) whose binary messages begin with the number of a channel."""

import base64
import json
import os
import socket
import struct
import urllib.parse

from __main__ import CALLS, MESSAGES, Wrong, call, equal, has, pod, until

MESSAGES |= {
    "ExecRequest": {"container_id": (1, "string"), "cmd": (2, "*string"), "tty": (3, "int"), "stdin": (4, "int"), "stdout": (5, "int"),
                    "stderr": (6, "int")},
    "AttachRequest": {"container_id": (1, "string"), "stdin": (2, "int"), "tty": (3, "int"), "stdout": (4, "int"), "stderr": (5, "int")},
    "PortForwardRequest": {"pod_sandbox_id": (1, "string"), "port": (2, "*int")},
    "Url": {"url": (1, "string")},
}
CALLS |= {"Exec": ("ExecRequest", "Url"), "Attach": ("AttachRequest", "Url"), "PortForward": ("PortForwardRequest", "Url")}
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)  # channels of Exec and Attach


class Stream:
    def __init__(self, url, query=""):
        url = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((url.hostname, url.port), timeout=60)
        self.socket.sendall((f"GET {url.path}{query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                             "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        status = self.file.readline().decode()
        while self.file.readline().strip():
            pass
        has(status, " 101 ")
        self.seen = {channel: b"" for channel in range(5)}

    def send(self, channel, data):
        """Sends one message. (A client has to mask what it sends; the mask may be zero.)"""
        data = bytes([channel]) + data
        length = struct.pack(">BH", 0x80 | 126, len(data))
        self.socket.sendall(b"\x82" + length + bytes(4) + data)

    def receive(self):
        """Adds a message to what its channel has seen. Returns whether there was one."""
        head = self.file.read(2)
        if len(head) < 2 or head[0] & 15 == 8:
            return False
        length = head[1] & 127
        if length > 125:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
        data = self.file.read(length)
        if head[0] & 15 <= 2 and data:
            self.seen[data[0]] += data[1:]
        return True

    def receive_until(self, channel, part):
        while part not in self.seen[channel]:
            if not self.receive():
                raise Wrong(f"expected {part!r} in {self.seen}")

    def end(self):
        """Receives everything, and returns the exit status."""
        while self.receive():
            pass
        status = json.loads(self.seen[ERROR] or b"{}")
        if status.get("status") == "Success":
            return 0
        causes = status.get("details", {}).get("causes", [])
        codes = [int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode"]
        return codes[0] if codes else f"no status in {self.seen}"


def exec_stream(container, *command, **streams):
    return Stream(call("Exec", container_id=container.id, cmd=list(command), stdout=True, **streams)["url"])


def case_exec_with_streams():
    container = pod().start("sleep", "1000", envs=[{"key": "A", "value": "b"}])
    stream = exec_stream(container, "sh", "-c", "read line; echo $A $line; echo error >&2; exit 7", stdin=True, stderr=True)
    stream.send(STDIN, b"of stdin\n")
    equal((stream.end(), stream.seen[STDOUT], stream.seen[STDERR]), (7, b"b of stdin\n", b"error\n"))
    stream = exec_stream(container, "head", "-c", "1000000", "/dev/zero", stderr=True)
    equal((stream.end(), len(stream.seen[STDOUT])), (0, 1000000))


def case_exec_with_a_terminal():
    container = pod().start("sleep", "1000")
    stream = exec_stream(container, "sh", "-c", "tty; until [ \"$(stty size)\" = '33 99' ]; do sleep 0.1; done; echo resized; read x; exit $x",
                         tty=True, stdin=True)
    stream.receive_until(STDOUT, b"/dev/pts/")
    stream.send(RESIZE, b'{"Width":99,"Height":33}')
    stream.receive_until(STDOUT, b"resized")
    stream.send(STDIN, b"5\n")
    equal(stream.end(), 5)


def case_attach():
    container = pod().start("sh", "-c", "echo ready; while read line; do echo got $line; done", stdin=True)
    until("it to be ready", lambda: "ready" in container.printed())
    stream = Stream(call("Attach", container_id=container.id, stdin=True, stdout=True, stderr=True)["url"])
    stream.send(STDIN, b"a line\n")
    stream.receive_until(STDOUT, b"got a line")
    has(container.printed(), "got a line")


def case_attach_to_a_terminal():
    container = pod().start("sh", "-c", "until [ \"$(stty size)\" = '22 88' ]; do sleep 0.1; done; echo resized; read x; exit $x",
                            tty=True, stdin=True)
    stream = Stream(call("Attach", container_id=container.id, stdin=True, stdout=True, tty=True)["url"])
    stream.send(RESIZE, b'{"Width":88,"Height":22}')
    stream.receive_until(STDOUT, b"resized")
    stream.send(STDIN, b"6\n")
    equal(container.ended()["exit_code"], 6)


def case_port_forward():
    container = pod().start("sh", "-c", "while :; do echo from inside | nc -l -p 8080; done")
    until("it to listen", lambda: ":1F90 " in call("ExecSync", container_id=container.id, cmd=["cat", "/proc/net/tcp", "/proc/net/tcp6"])["stdout"])
    stream = Stream(call("PortForward", pod_sandbox_id=pod().id, port=[8080])["url"], "?port=8080")
    # Each of the two channels of a port begins with its number.
    stream.receive_until(0, struct.pack("<H", 8080) + b"from inside\n")
