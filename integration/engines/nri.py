"""A plugin of the Node Resource Interface, by which containerd lets others adjust what a container is created with.

The plugin connects to containerd's socket, which carries two connections of ttrpc in frames: on the first containerd calls the
plugin, on the second the plugin calls containerd (github.com/containerd/nri, pkg/api/api.proto; github.com/containerd/ttrpc)."""

import queue
import socket
import struct
import threading

from cri_api import MESSAGES, decode, encode

SOCKET = "/var/run/nri/nri.sock"
CALLED, CALLING = 1, 2  # the two connections
REQUEST, RESPONSE = 1, 2  # types of a message
CREATE_CONTAINER = 1 << 3  # a bit in the events that a plugin wants to be told

MESSAGES.update({
    "NriRequest": {"service": (1, "string"), "method": (2, "string"), "payload": (3, "bytes")},
    "NriResponse": {"status": (1, "NriStatus"), "payload": (2, "bytes")},
    "NriStatus": {"code": (1, "int"), "message": (2, "string")},
    "NriRegister": {"plugin_name": (1, "string"), "plugin_idx": (2, "string")},
    "NriConfigured": {"events": (2, "int")},
    "NriCreate": {"container": (2, "NriContainer")},
    "NriContainer": {"id": (1, "string"), "name": (3, "string")},
    "NriCreated": {"adjust": (1, "NriAdjustment")},
    "NriAdjustment": {"annotations": (2, "%"), "mounts": (3, "*NriMount"), "env": (4, "*KeyValue"), "hooks": (5, "NriHooks"),
                      "linux": (6, "NriLinuxAdjustment"), "rlimits": (7, "*NriRlimit"), "CDI_devices": (8, "*CDIDevice")},
    "NriMount": {"destination": (1, "string"), "type": (2, "string"), "source": (3, "string"), "options": (4, "*string")},
    "NriHooks": {"create_runtime": (2, "*NriHook")},
    "NriHook": {"path": (1, "string"), "args": (2, "*string")},
    "NriLinuxAdjustment": {"devices": (1, "*NriDevice"), "resources": (2, "NriResources"), "oom_score_adj": (4, "Int64Value")},
    "NriDevice": {"path": (1, "string"), "type": (2, "string"), "major": (3, "int"), "minor": (4, "int")},
    "NriResources": {"memory": (1, "NriMemory"), "cpu": (2, "NriCpu"), "unified": (6, "%"), "pids": (8, "NriPids")},
    "NriMemory": {"limit": (1, "Int64Value")},
    "NriCpu": {"shares": (1, "Int64Value"), "quota": (2, "Int64Value"), "period": (3, "Int64Value")},
    "NriPids": {"limit": (1, "int")},
    "NriRlimit": {"type": (1, "string"), "hard": (2, "int"), "soft": (3, "int")},
    "NriUpdates": {"update": (1, "*NriUpdate")},
    "NriUpdate": {"container_id": (1, "string"), "linux": (2, "NriLinuxUpdate")},
    "NriLinuxUpdate": {"resources": (1, "NriResources")},
    "NriUpdated": {"failed": (1, "*NriUpdate")},
})


class Plugin:
    """Registers itself. Gives every container that is created afterwards the adjustments (an NriAdjustment)."""

    def __init__(self, adjustments):
        self.adjustments = adjustments
        self.answers, self.synchronized = queue.Queue(), threading.Event()
        self.stream = -1
        self.trunk = socket.socket(socket.AF_UNIX)
        self.trunk.connect(SOCKET)
        threading.Thread(target=self.read, daemon=True).start()
        self.call("RegisterPlugin", "NriRegister", {"plugin_name": "adjuster", "plugin_idx": "10"})
        if not self.synchronized.wait(30):
            raise TimeoutError("containerd does not synchronize the plugin")

    def update(self, container, resources):
        """Updates a running container, and returns those that could not be updated."""
        update = {"container_id": container, "linux": {"resources": resources}}
        return decode("NriUpdated", self.call("UpdateContainers", "NriUpdates", {"update": [update]}))["failed"]

    def close(self):
        self.trunk.shutdown(socket.SHUT_RDWR)

    def call(self, method, kind, message):
        self.stream += 2
        request = {"service": "nri.pkg.api.v1alpha1.Runtime", "method": method, "payload": encode(kind, message)}
        self.send(CALLING, self.stream, REQUEST, encode("NriRequest", request))
        response = decode("NriResponse", self.answers.get(timeout=30))
        if response["status"].get("code"):
            raise OSError(f"{method}: {response['status']['message']}")
        return response["payload"] or b""

    def send(self, connection, stream, kind, body):
        # In frames of their own, because the reader has a buffer for the header that a large body would not fit into.
        for part in (struct.pack(">IIBB", len(body), stream, kind, 0), body):
            self.trunk.sendall(struct.pack(">II", connection, len(part)) + part)

    def read(self):
        received = {CALLED: b"", CALLING: b""}
        source = self.trunk.makefile("rb")
        while frame := source.read(8):
            connection, length = struct.unpack(">II", frame)
            received[connection] += source.read(length)
            while len(data := received[connection]) >= 10:
                length, stream, kind, _ = struct.unpack(">IIBB", data[:10])
                if len(data) < 10 + length:
                    break
                received[connection] = data[10 + length:]
                if kind == RESPONSE:
                    self.answers.put(data[10:10 + length])
                else:
                    self.send(CALLED, stream, RESPONSE, encode("NriResponse", {"payload": self.answer(decode("NriRequest", data[10:10 + length]))}))

    def answer(self, request):
        if request["method"] == "Configure":
            return encode("NriConfigured", {"events": CREATE_CONTAINER})
        if request["method"] == "CreateContainer":
            return encode("NriCreated", {"adjust": self.adjustments})
        if request["method"] == "Synchronize":
            self.synchronized.set()
        return b""
