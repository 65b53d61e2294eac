"""The bundles that the benches run, on tmpfs, with a static busybox."""

import json
import os
import shutil
import subprocess

from calling import HANG, HERE, REPOSITORY, Failed, ask, ask_quietly, ask_without_pipes, compile_c, die, reap, shared_objects

PROFILE = os.path.join(REPOSITORY, "tests", "profiles", "docker-default.json")
DOCKER_CAPABILITIES = ["CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE").split()]
FIRST_ID, IDS = 100000, 65536  # of a user namespace, as in floor.c
# Reported from inside a container, with busybox only. Two runtimes are comparable only if they create the same container:
# mount points (how a path is masked is up to the runtime), identity, limits, network, what is writable.
PROOF = """
export PATH=/bin
b=/bin/busybox
echo "pid $$, $(umask), files $(ulimit -n), host $($b hostname), cwd $PWD, $($b tail -n 1 /proc/self/cgroup)"
$b grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp.*):' /proc/self/status | $b tr -s ' \\t' ' '
while read -r _ _ _ _ point options _; do echo "mount $point ${options%%,*}"; done </proc/self/mountinfo |
    $b sed -E '/ .(proc|sys.firmware).*/s/ r[ow]$//' | $b sort
$b ip -o link | $b cut -d ' ' -f 2,3
for file in /x /sys/fs/cgroup/x /proc/sys/kernel/hostname /dev/x /dev/shm/x; do
    (echo x >$file) 2>/dev/null && echo "writable $file"
done
exit 42
"""


def make_bundles(directory):
    """Bundles with the default spec on tmpfs: `run` exits at once, `life` sleeps until killed, `proof` describes itself."""
    busybox = shutil.which("busybox")
    if not busybox or shared_objects(busybox):
        die("needs a statically linked busybox in $PATH (Debian: busybox-static)")
    with open(os.path.join(HERE, "config.json")) as file:
        spec = json.load(file)
    bundles = {}
    for name, args in ("run", ["/bin/true"]), ("life", ["/bin/sleep", "1000"]), ("proof", ["/bin/sh", "-c", PROOF]):
        bundle = bundles[name] = os.path.join(directory, name)
        for made in "bin", "proc", "dev", "sys":  # mount points exist, so that no runtime has to create them
            os.makedirs(os.path.join(bundle, "rootfs", made))
        shutil.copy(busybox, os.path.join(bundle, "rootfs/bin/busybox"))
        for applet in "true", "sleep", "sh":
            os.symlink("busybox", os.path.join(bundle, "rootfs/bin", applet))
        spec["process"]["args"] = args
        with open(os.path.join(bundle, "config.json"), "w") as file:
            json.dump(spec, file, indent="\t")
    return bundles


def add_configs(bundles, directory):
    """Bundles with Docker's config and with a user namespace; `proof` and `run` of each."""
    os.chmod(directory, 0o711)  # the user namespace's root has to reach its root file system
    with open(PROFILE) as file:
        profile = json.load(file)
    for kind in "docker", "userns":
        for name, base in (kind, "run"), (kind + "-proof", "proof"), (kind + "-life", "life"):
            bundle = bundles[name] = os.path.join(directory, name)
            shutil.copytree(bundles[base], bundle, symlinks=True)
            path = os.path.join(bundle, "config.json")
            with open(path) as file:
                spec = json.load(file)
            if kind == "docker":
                spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), DOCKER_CAPABILITIES)
                spec["process"]["noNewPrivileges"] = False
                spec["linux"]["seccomp"] = profile
            else:
                spec["linux"]["namespaces"].append({"type": "user"})
                ids = [{"containerID": 0, "hostID": FIRST_ID, "size": IDS}]
                spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = ids
                rootfs = os.path.join(bundle, "rootfs")
                for parent, directories, files in os.walk(rootfs):
                    for each in [parent, *(os.path.join(parent, below) for below in directories + files)]:
                        os.lchown(each, FIRST_ID, FIRST_ID)
            with open(path, "w") as file:
                json.dump(spec, file, indent="\t")


def save_filter(orlop, bundles, directory):
    """The filter that orlop installs for Docker's profile, read from one of its containers, for the floor.

    The kernel shows filters only to a process without one, so this comes before allow_memlock.
    """
    bundles["filter"] = os.path.join(directory, "filter.bin")
    try:
        ask_without_pipes([orlop, "create", "--bundle", bundles["docker-life"], "bench-filter"], bundles["filter"] + ".log")
        ask([orlop, "start", "bench-filter"])  # installs the filter
        pid = json.loads(ask([orlop, "state", "bench-filter"]))["pid"]
        with open(bundles["filter"], "wb") as file:
            subprocess.run([compile_c("filter", directory), str(pid)], stdout=file, check=True, timeout=HANG)
    except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        die(f"cannot read orlop's filter: {error}")
    finally:
        ask_quietly([orlop, "delete", "--force", "bench-filter"])
        reap()
