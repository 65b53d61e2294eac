"""The Container Runtime Interface `runtime.v1`, as far as `cri` uses it: its messages, their encoding, and calls."""

import os

import grpc

SOCKET = "/run/crio/crio.sock" if os.environ.get("CRIO") else "/run/containerd/containerd.sock"

# Message → field → (number, type). `*` means repeated, `%` a map of strings.
MESSAGES = {
    "Nothing": {},
    "VersionResponse": {"version": (1, "string"), "runtime_name": (2, "string"), "runtime_version": (3, "string")},
    "StatusResponse": {"status": (1, "RuntimeStatus"), "runtime_handlers": (3, "*RuntimeHandler"), "features": (4, "RuntimeFeatures")},
    "RuntimeStatus": {"conditions": (1, "*RuntimeCondition")},
    "RuntimeCondition": {"type": (1, "string"), "status": (2, "int"), "message": (4, "string")},
    "RuntimeHandler": {"name": (1, "string"), "features": (2, "RuntimeHandlerFeatures")},
    "RuntimeHandlerFeatures": {"recursive_read_only_mounts": (1, "int"), "user_namespaces": (2, "int")},
    "RuntimeFeatures": {"supplemental_groups_policy": (1, "int")},
    "RuntimeConfigResponse": {"linux": (1, "LinuxRuntimeConfiguration")},
    "LinuxRuntimeConfiguration": {"cgroup_driver": (1, "int")},
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata"), "hostname": (2, "string"), "log_directory": (3, "string"), "dns_config": (4, "DNSConfig"),
        "labels": (6, "%"), "annotations": (7, "%"), "linux": (8, "LinuxPodSandboxConfig"),
    },
    "PodSandboxMetadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string"), "attempt": (4, "int")},
    "DNSConfig": {"servers": (1, "*string"), "searches": (2, "*string"), "options": (3, "*string")},
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, "string"), "security_context": (2, "LinuxSandboxSecurityContext"), "sysctls": (3, "%"),
                              "overhead": (4, "LinuxContainerResources"), "resources": (5, "LinuxContainerResources")},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption"), "run_as_user": (3, "Int64Value"), "privileged": (6, "int"),
                                    "seccomp": (9, "SecurityProfile")},
    "NamespaceOption": {"network": (1, "int"), "pid": (2, "int"), "ipc": (3, "int"), "target_id": (4, "string"),
                        "userns_options": (5, "UserNamespace")},
    "UserNamespace": {"mode": (1, "int"), "uids": (2, "*IDMapping"), "gids": (3, "*IDMapping")},
    "IDMapping": {"host_id": (1, "int"), "container_id": (2, "int"), "length": (3, "int")},
    "Int64Value": {"value": (1, "int")},
    "SecurityProfile": {"profile_type": (1, "int"), "localhost_ref": (2, "string")},
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig"), "runtime_handler": (2, "string")},
    "PodId": {"pod_sandbox_id": (1, "string")},
    "PodSandboxStatusResponse": {"status": (1, "PodSandboxStatus")},
    "PodSandboxStatus": {"id": (1, "string"), "state": (3, "int"), "network": (5, "PodSandboxNetworkStatus"), "runtime_handler": (9, "string")},
    "PodSandboxNetworkStatus": {"ip": (1, "string")},
    "CreateContainerRequest": {"pod_sandbox_id": (1, "string"), "config": (2, "ContainerConfig"), "sandbox_config": (3, "PodSandboxConfig")},
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"), "image": (2, "ImageSpec"), "command": (3, "*string"), "args": (4, "*string"),
        "working_dir": (5, "string"), "envs": (6, "*KeyValue"), "mounts": (7, "*Mount"), "devices": (8, "*Device"), "labels": (9, "%"),
        "annotations": (10, "%"), "log_path": (11, "string"), "stdin": (12, "int"), "tty": (14, "int"), "linux": (15, "LinuxContainerConfig"),
        "CDI_devices": (17, "*CDIDevice"),
    },
    "ContainerMetadata": {"name": (1, "string"), "attempt": (2, "int")},
    "ImageSpec": {"image": (1, "string"), "user_specified_image": (18, "string")},
    "KeyValue": {"key": (1, "string"), "value": (2, "string")},
    "CDIDevice": {"name": (1, "string")},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "int"), "propagation": (5, "int"),
              "uidMappings": (6, "*IDMapping"), "gidMappings": (7, "*IDMapping"), "recursive_read_only": (8, "int"), "image": (9, "ImageSpec")},
    "Device": {"container_path": (1, "string"), "host_path": (2, "string"), "permissions": (3, "string")},
    "LinuxContainerConfig": {"resources": (1, "LinuxContainerResources"), "security_context": (2, "LinuxContainerSecurityContext")},
    "LinuxContainerResources": {
        "cpu_period": (1, "int"), "cpu_quota": (2, "int"), "cpu_shares": (3, "int"), "memory_limit_in_bytes": (4, "int"),
        "oom_score_adj": (5, "int"), "unified": (9, "%"), "memory_swap_limit_in_bytes": (10, "int"),
    },
    "LinuxContainerSecurityContext": {
        "capabilities": (1, "Capability"), "privileged": (2, "int"), "namespace_options": (3, "NamespaceOption"),
        "run_as_user": (5, "Int64Value"), "run_as_username": (6, "string"), "readonly_rootfs": (7, "int"), "supplemental_groups": (8, "*int"),
        "no_new_privs": (11, "int"), "run_as_group": (12, "Int64Value"), "masked_paths": (13, "*string"), "readonly_paths": (14, "*string"),
        "seccomp": (15, "SecurityProfile"), "apparmor": (16, "SecurityProfile"), "supplemental_groups_policy": (17, "int"),
    },
    "Capability": {"add_capabilities": (1, "*string"), "drop_capabilities": (2, "*string")},
    "ContainerId": {"container_id": (1, "string")},
    "StopContainerRequest": {"container_id": (1, "string"), "timeout": (2, "int")},
    "UpdateContainerResourcesRequest": {"container_id": (1, "string"), "linux": (2, "LinuxContainerResources")},
    "ExecSyncRequest": {"container_id": (1, "string"), "cmd": (2, "*string"), "timeout": (3, "int")},
    "ExecSyncResponse": {"stdout": (1, "string"), "stderr": (2, "string"), "exit_code": (3, "int")},
    "ContainerStatusResponse": {"status": (1, "ContainerStatus")},
    "ContainerStatus": {"id": (1, "string"), "state": (3, "int"), "exit_code": (7, "int"), "reason": (10, "string"), "message": (11, "string"),
                        "user": (18, "ContainerUser")},
    "ContainerUser": {"linux": (1, "LinuxContainerUser")},
    "LinuxContainerUser": {"uid": (1, "int"), "gid": (2, "int"), "supplemental_groups": (3, "*int")},
    "CheckpointContainerRequest": {"container_id": (1, "string"), "location": (2, "string"), "timeout": (3, "int")},
    "ContainerStatsResponse": {"stats": (1, "ContainerStats")},
    "ContainersStatsResponse": {"stats": (1, "*ContainerStats")},
    "ContainerStats": {"attributes": (1, "ContainerAttributes"), "cpu": (2, "CpuUsage"), "memory": (3, "MemoryUsage")},
    "ContainerAttributes": {"id": (1, "string")},
    "PodStatsResponse": {"stats": (1, "PodSandboxStats")},
    "PodsStatsResponse": {"stats": (1, "*PodSandboxStats")},
    "PodSandboxStats": {"attributes": (1, "ContainerAttributes"), "linux": (2, "LinuxPodSandboxStats")},
    "LinuxPodSandboxStats": {"cpu": (1, "CpuUsage"), "memory": (2, "MemoryUsage"), "network": (3, "NetworkUsage"), "process": (4, "ProcessUsage"),
                             "containers": (5, "*ContainerStats")},
    "NetworkUsage": {"default_interface": (2, "NetworkInterfaceUsage")},
    "NetworkInterfaceUsage": {"name": (1, "string"), "rx_bytes": (2, "Int64Value")},
    "ProcessUsage": {"process_count": (2, "Int64Value")},
    "ContainerEvent": {"container_id": (1, "string"), "type": (2, "int")},
    "CpuUsage": {"usage_core_nano_seconds": (2, "Int64Value")},
    "MemoryUsage": {"working_set_bytes": (2, "Int64Value")},
}
CALLS = {
    "Version": ("Nothing", "VersionResponse"), "Status": ("Nothing", "StatusResponse"),
    "RunPodSandbox": ("RunPodSandboxRequest", "PodId"), "StopPodSandbox": ("PodId", "Nothing"), "RemovePodSandbox": ("PodId", "Nothing"),
    "PodSandboxStatus": ("PodId", "PodSandboxStatusResponse"), "CreateContainer": ("CreateContainerRequest", "ContainerId"),
    "StartContainer": ("ContainerId", "Nothing"), "StopContainer": ("StopContainerRequest", "Nothing"),
    "RemoveContainer": ("ContainerId", "Nothing"), "ContainerStatus": ("ContainerId", "ContainerStatusResponse"),
    "UpdateContainerResources": ("UpdateContainerResourcesRequest", "Nothing"), "ExecSync": ("ExecSyncRequest", "ExecSyncResponse"),
    "ReopenContainerLog": ("ContainerId", "Nothing"), "ContainerStats": ("ContainerId", "ContainerStatsResponse"),
    "CheckpointContainer": ("CheckpointContainerRequest", "Nothing"), "RuntimeConfig": ("Nothing", "RuntimeConfigResponse"),
    "ListContainerStats": ("Nothing", "ContainersStatsResponse"), "PodSandboxStats": ("PodId", "PodStatsResponse"),
    "ListPodSandboxStats": ("Nothing", "PodsStatsResponse"),
}
POD, CONTAINER, NODE, TARGET = range(4)  # whose namespace
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = range(3)  # seccomp
RUNNING, EXITED = 1, 2  # states of a container
READY, NOT_READY = 0, 1  # states of a pod
CREATED, STARTED, STOPPED, DELETED = range(4)  # events
MERGE, STRICT = range(2)  # policies for supplemental groups


def number(value):  # https://protobuf.dev/programming-guides/encoding/
    out, value = bytearray(), value & 0xFFFFFFFFFFFFFFFF
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def encode(kind, message):
    out = b""
    for name, value in message.items():
        tag, of = MESSAGES[kind][name]
        if of == "%":
            entries = [encode("KeyValue", {"key": key, "value": text}) for key, text in value.items()]
        else:
            entries = [item for item in (value if of[0] == "*" else [value])]
        of = of.lstrip("*")
        for entry in entries:
            if of == "int":
                out += number(tag << 3) + number(int(entry))
                continue
            if isinstance(entry, dict):
                entry = encode(of, entry)
            entry = entry.encode() if isinstance(entry, str) else entry
            out += number(tag << 3 | 2) + number(len(entry)) + entry
    return out


def varint(data, at):
    """The number at this place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def numbers(data):
    at, out = 0, []
    while at < len(data):
        value, at = varint(data, at)
        out.append(value)
    return out


def decode(kind, data):
    names = {tag: (name, of) for name, (tag, of) in MESSAGES[kind].items()}
    message = {name: [] if of[0] == "*" else 0 if of == "int" else "" if of in ("string", "bytes") else {} for name, (_, of) in MESSAGES[kind].items()}
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            length, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = data[at:at + length], at + length
        name, of = names.get(key >> 3, (None, ""))
        if name is None or of == "%":
            continue
        item = of.lstrip("*")
        if item == "int" and key & 7 == 2:
            # (Repeated numbers are in one field.)
            message[name] += numbers(value)
            continue
        if item == "string":
            value = value.decode(errors="replace")
        elif item not in ("int", "bytes"):
            value = decode(item, value)
        if of[0] == "*":
            message[name].append(value)
        else:
            message[name] = value
    return message


channel = grpc.insecure_channel("unix://" + SOCKET)


def call(name, seconds=240, **message):
    asked, answered = CALLS[name]
    method = channel.unary_unary("/runtime.v1.RuntimeService/" + name, request_serializer=lambda m: encode(asked, m),
                                 response_deserializer=lambda d: decode(answered, d))
    return method(message, timeout=seconds, wait_for_ready=name == "Version")


def events():
    """The stream of GetContainerEvents."""
    method = channel.unary_stream("/runtime.v1.RuntimeService/GetContainerEvents", request_serializer=lambda m: encode("Nothing", m),
                                  response_deserializer=lambda d: decode("ContainerEvent", d))
    return method({})
