/*
 * floor: only the kernel's work of starting a container.
 *
 *     floor [--docker FILTER | --userns] ROOTFS CGROUP_PARENT CMD [ARG...]
 *     floor --exec PID CGROUP CMD [ARG...]
 *
 * Does what the default bundle (`runc spec` on a cgroup v2 host, terminal false) requires of the kernel, and nothing
 * else: no JSON, no state directory, no locks, no device filter (eBPF), no error recovery, no defence against a hostile
 * root file system. It always uses the cheapest correct call. A runtime cannot be much faster than this without leaving
 * something out, so any time beyond it is the runtime's overhead.
 *
 * Two cheaper alternatives were measured and not used, because each gains only 1 to 2 %, less than the noise: mount(2)
 * instead of the several calls of the mount API (it resolves the target by name, which no runtime should do), and
 * CLONE_VM | CLONE_VFORK.
 *
 * Two processes, as in every runtime:
 *
 *     parent:  mkdir cgroup leaf -> clone3 ------------------------------> wait -> rmdir leaf -> exit with its code
 *     child:                          mounts -> pivot -> identity -> execve CMD
 *
 * They need not synchronize: without a user namespace no ID map has to be written from outside, and the child is born in
 * its cgroup. So there is no socket, no second fork, and a pipe only with --userns.
 *
 * --docker: Docker's 14 capabilities, no no_new_privs, and the seccomp filter in the file FILTER, an array of struct
 * sock_filter. The filter is that of the runtime under test, so compiling a profile counts as the runtime's overhead.
 *
 * --userns: also a user namespace, in which the ids from 0 are 100000 and up of the host. The parent writes the maps while
 * the child does what needs no ids; one pipe joins them again. Devices cannot be made there: the host's are bound instead.
 *
 * --exec: runs CMD in the container of PID, whose cgroup is the directory CGROUP. The caller enters all namespaces by one
 * setns; one clone3 puts the child into the PID namespace and into the cgroup.
 *
 * ROOTFS must contain CMD and the empty directories proc, dev and sys (a runtime would create them). Needs root and Linux
 * 5.14. The exit code is that of CMD, 128+n if it was killed by signal n, 125 if a call failed (stderr names the call).
 *
 * Build: gcc -O2 -static -o floor floor.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Prints "floor: CALL: reason" and exits. */
static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *call, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, call);
	fputs("floor: ", stderr);
	vfprintf(stderr, call, args);
	fprintf(stderr, ": %s\n", strerror(saved));
	_exit(125);
}

/* Runs CALL once; on -1 fails with the text that follows, or with the source text of the call. */
#define CHECK(call)                                                                                                    \
	({                                                                                                             \
		long result_ = (call);                                                                                 \
		if (result_ == -1)                                                                                     \
			fail("%s", #call);                                                                             \
		result_;                                                                                               \
	})
#define CHECK_AS(call, ...)                                                                                            \
	({                                                                                                             \
		long result_ = (call);                                                                                 \
		if (result_ == -1)                                                                                     \
			fail(__VA_ARGS__);                                                                             \
		result_;                                                                                               \
	})

/* What differs from the default bundle. */
static uint64_t kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
static const uint64_t docker_kept = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FSETID | 1u << CAP_FOWNER |
				    1u << CAP_MKNOD | 1u << CAP_NET_RAW | 1u << CAP_SETGID | 1u << CAP_SETUID |
				    1u << CAP_SETFCAP | 1u << CAP_SETPCAP | 1u << CAP_NET_BIND_SERVICE |
				    1u << CAP_SYS_CHROOT | 1u << CAP_KILL | 1u << CAP_AUDIT_WRITE;
static const char *filter_path; /* --docker */
static int mapped[2] = { -1, -1 }; /* --userns: a pipe, closed by the parent once the maps are written */

static const char *const masked_paths[] = {
	"/proc/acpi",        "/proc/asound",      "/proc/kcore",       "/proc/keys",    "/proc/latency_stats",
	"/proc/timer_list",  "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
};

static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* "key=value" strings for the file system, as passed to fsconfig; terminated by a null key. */
struct option {
	const char *key, *value;
};

/*
 * Creates a file system and mounts it on TARGET (relative to the working directory, which is the new root).
 * /proc/self/mountinfo shows it as SOURCE. ATTRIBUTES are per mount (MOUNT_ATTR_*), OPTIONS go to the file system.
 *
 * The mount is created detached, with all its attributes, and then attached: the target is looked up only once, and
 * the mount is never visible without its attributes.
 */
static void mount_new(const char *type, const char *source, const char *target, unsigned attributes,
		      const struct option *options)
{
	int context = CHECK_AS(fsopen(type, FSOPEN_CLOEXEC), "fsopen(%s)", type);

	CHECK_AS(fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0), "fsconfig(%s, source=%s)", type, source);
	for (; options && options->key; options++) {
		if (options->value)
			CHECK_AS(fsconfig(context, FSCONFIG_SET_STRING, options->key, options->value, 0),
				 "fsconfig(%s, %s=%s)", type, options->key, options->value);
		else
			CHECK_AS(fsconfig(context, FSCONFIG_SET_FLAG, options->key, NULL, 0), "fsconfig(%s, %s)", type,
				 options->key);
	}
	CHECK_AS(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig(%s, create)", type);
	int mount_fd = CHECK_AS(fsmount(context, FSMOUNT_CLOEXEC, attributes), "fsmount(%s)", type);
	CHECK_AS(move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH), "move_mount(%s, %s)", type,
		 target);
	/* The descriptors stay open until close_range below: one call for all of them. */
}

/* The `mounts` of the default spec, in its order. */
static void mount_defaults(void)
{
	const unsigned locked_down = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;

	mount_new("proc", "proc", "proc", 0, NULL);
	mount_new("tmpfs", "tmpfs", "dev", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME,
		  (struct option[]){ { "mode", "755" }, { "size", "65536k" }, {} });
	CHECK(mkdir("dev/pts", 0755));
	CHECK(mkdir("dev/shm", 0755));
	CHECK(mkdir("dev/mqueue", 0755));
	/* `newinstance` is not needed: since Linux 4.7 every devpts mount is a new instance. */
	mount_new("devpts", "devpts", "dev/pts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
		  (struct option[]){ { "ptmxmode", "0666" }, { "mode", "0620" }, { "gid", "5" }, {} });
	mount_new("tmpfs", "shm", "dev/shm", locked_down,
		  (struct option[]){ { "mode", "1777" }, { "size", "65536k" }, {} });
	mount_new("mqueue", "mqueue", "dev/mqueue", locked_down, NULL);
	mount_new("sysfs", "sysfs", "sys", locked_down | MOUNT_ATTR_RDONLY, NULL);
	/* Only this mount is read-only: all cgroup2 mounts of the machine share one superblock. */
	mount_new("cgroup2", "cgroup", "sys/fs/cgroup", locked_down | MOUNT_ATTR_RDONLY, NULL);
}

/* The devices and links that every OCI container has, regardless of its config (runtime spec, "Default Devices"). */
static void make_devices(void)
{
	static const struct {
		const char *path;
		unsigned major, minor;
	} devices[] = {
		{ "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	static const struct {
		const char *path, *to;
	} links[] = {
		{ "dev/ptmx", "pts/ptmx" },          { "dev/fd", "/proc/self/fd" },
		{ "dev/stdin", "/proc/self/fd/0" },  { "dev/stdout", "/proc/self/fd/1" },
		{ "dev/stderr", "/proc/self/fd/2" },
	};

	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
		if (mapped[0] != -1) {
			char host[32];

			snprintf(host, sizeof host, "/%s", devices[i].path);
			CHECK_AS(mknod(devices[i].path, S_IFREG | 0666, 0), "mknod(%s)", devices[i].path);
			CHECK_AS(mount(host, devices[i].path, NULL, MS_BIND, NULL), "mount(%s, bind)", host);
			continue;
		}
		CHECK_AS(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)),
			 "mknod(%s)", devices[i].path);
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		CHECK_AS(symlink(links[i].to, links[i].path), "symlink(%s)", links[i].path);
}

/* `linux.readonlyPaths`: each is bound onto itself, read-only. Paths that this kernel does not have are skipped. */
static void make_readonly(void)
{
	for (size_t i = 0; i < sizeof readonly_paths / sizeof *readonly_paths; i++) {
		const char *path = readonly_paths[i];
		int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

		if (tree == -1 && errno == ENOENT)
			continue;
		CHECK_AS(tree, "open_tree(%s)", path);
		struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
		CHECK_AS(mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &readonly, sizeof readonly),
			 "mount_setattr(%s, ro)", path);
		CHECK_AS(move_mount(tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), "move_mount(%s)", path);
	}
}

/*
 * `linux.maskedPaths`: /dev/null over a file, an empty read-only directory over a directory. Missing ones are skipped.
 *
 * Nothing is looked up beforehand: binding /dev/null onto a directory fails with ENOTDIR, which costs less than calling
 * stat for every path. All directories share one tmpfs, because a superblock costs far more than a bind mount.
 */
static void mask(void)
{
	const char *empty = NULL; /* where the shared tmpfs is mounted first */

	for (size_t i = 0; i < sizeof masked_paths / sizeof *masked_paths; i++) {
		const char *path = masked_paths[i];

		if (mount("/dev/null", path, NULL, MS_BIND, NULL) == 0 || errno == ENOENT)
			continue;
		if (errno != ENOTDIR)
			fail("mount(/dev/null, %s, bind)", path);
		if (empty) {
			CHECK_AS(mount(empty, path, NULL, MS_BIND, NULL), "mount(%s, %s, bind)", empty, path);
		} else {
			CHECK_AS(mount("tmpfs", path, "tmpfs", MS_RDONLY, NULL), "mount(tmpfs, %s)", path);
			empty = path;
		}
	}
}

/* In a new network namespace `lo` is down. Any socket will do for the request; bringing it up also adds the addresses. */
static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = CHECK(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
}

/* `process.capabilities`: bounding, effective and permitted are equal; nothing is inheritable. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = kept, .permitted = kept } };

	/* The bounding set first, because dropping from it requires CAP_SETPCAP. EINVAL means past the last capability. */
	for (int cap = 0; cap < 64; cap++) {
		if (kept >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1) {
			if (errno == EINVAL)
				break;
			fail("prctl(PR_CAPBSET_DROP, %d)", cap);
		}
	}
	/* The spec's ambient set is impossible without an inheritable set; no other runtime sets it either. Emptying the
	 * inheritable set empties the ambient set. */
	CHECK(syscall(SYS_capset, &header, data));
}

/* `linux.seccomp`, compiled beforehand. Without no_new_privs it has to be installed while CAP_SYS_ADMIN is still there. */
static void install_filter(int fd)
{
	static struct sock_filter filter[BPF_MAXINSNS];
	ssize_t size = CHECK(read(fd, filter, sizeof filter));
	struct sock_fprog program = { .len = size / sizeof *filter, .filter = filter };

	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

/* In a new user namespace: waits for the maps, then becomes its root. */
static void become_root(void)
{
	char none;

	CHECK(close(mapped[1]));
	CHECK(read(mapped[0], &none, 1)); /* end of file */
	CHECK(syscall(SYS_setresgid, 0, 0, 0));
	CHECK(syscall(SYS_setresuid, 0, 0, 0));
}

/* Sets the process attributes, closes what is open, and executes COMMAND. */
static void __attribute__((noreturn)) become(char **command, int filter)
{
	static char *environment[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=xterm",
		NULL,
	};
	const struct rlimit files = { 1024, 1024 };

	CHECK(setrlimit(RLIMIT_NOFILE, &files));
	umask(0022);

	/* User and group are already 0; only the caller's supplementary groups remain to be dropped. */
	CHECK(syscall(SYS_setgroups, 0, NULL));
	if (filter == -1)
		CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	else
		install_filter(filter);
	drop_capabilities();

	CHECK(close_range(3, ~0u, 0));
	execve(command[0], command, environment);
	fail("execve(%s)", command[0]);
}

/* The container's process, from birth to execve. Runs in the new namespaces and the new cgroup, as root. */
static void __attribute__((noreturn)) child(const char *rootfs, char **command)
{
	int filter = -1;

	if (filter_path)
		filter = CHECK_AS(open(filter_path, O_RDONLY | O_CLOEXEC), "open(%s)", filter_path);
	CHECK(setsid());
	/* A new anonymous keyring, so that the caller's session keys are out of reach. */
	CHECK(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));

	/* Slave: none of our mounts propagates to the host, while unmounts on the host propagate to us until the pivot. */
	CHECK(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
	/* pivot_root requires a mount point. It must not be shared: move_mount and pivot_root reject that. */
	CHECK_AS(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), "mount(%s, bind)", rootfs);
	CHECK_AS(chdir(rootfs), "chdir(%s)", rootfs);

	if (mapped[0] != -1)
		become_root();
	umask(0); /* for mknod's 0666 */
	mount_defaults();
	make_devices();

	/* Stack the old root on the new one, so that no directory is needed for it (see pivot_root(2)). */
	CHECK(syscall(SYS_pivot_root, ".", "."));
	CHECK(umount2(".", MNT_DETACH));
	/* From here on, paths are those of the container. */

	make_readonly();
	mask();
	/* `root.readonly`: the last mount operation, and not recursive, so that /dev stays writable. */
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	CHECK(mount_setattr(AT_FDCWD, "/", 0, &readonly, sizeof readonly));

	CHECK(sethostname("runc", 4));
	loopback_up();
	become(command, filter);
}

static void write_map(long pid, const char *name)
{
	static const char map[] = "0 100000 65536";
	char path[64];

	snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
	int fd = CHECK_AS(open(path, O_WRONLY | O_CLOEXEC), "open(%s)", path);
	CHECK_AS(write(fd, map, sizeof map - 1), "write(%s)", path);
}

/* The exit code of the child, as a shell tells it. */
static int code_of(int pidfd)
{
	siginfo_t end;

	CHECK(waitid(P_PIDFD, pidfd, &end, WEXITED));
	return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}

/* --exec. The time namespace is left out, because the default bundle does not have one. */
static int enter(pid_t target, const char *directory, char **command)
{
	int cgroup = CHECK_AS(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), "open(%s)", directory);
	int container = CHECK(syscall(SYS_pidfd_open, target, 0));

	CHECK(setns(container, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP));

	int pidfd;
	struct clone_args clone = {
		.flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup,
	};
	long pid = CHECK_AS(syscall(SYS_clone3, &clone, sizeof clone), "clone3");

	if (pid != 0)
		return code_of(pidfd);
	CHECK(setsid());
	CHECK(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
	become(command, -1);
}

int main(int argc, char **argv)
{
	if (argc > 4 && strcmp(argv[1], "--exec") == 0)
		return enter(atoi(argv[2]), argv[3], argv + 4);
	if (argc > 2 && strcmp(argv[1], "--docker") == 0) {
		filter_path = argv[2];
		kept = docker_kept;
		argv += 2;
		argc -= 2;
	} else if (argc > 1 && strcmp(argv[1], "--userns") == 0) {
		CHECK(pipe2(mapped, O_CLOEXEC));
		argv++;
		argc--;
	}
	if (argc < 4) {
		fputs("usage: floor [--docker FILTER | --userns] ROOTFS CGROUP_PARENT CMD [ARG...]\n"
		      "       floor --exec PID CGROUP CMD [ARG...]\n",
		      stderr);
		return 125;
	}

	char leaf[4096];
	snprintf(leaf, sizeof leaf, "%s/floor.%d", argv[2], getpid());
	CHECK_AS(mkdir(leaf, 0755), "mkdir(%s)", leaf);
	int cgroup = CHECK_AS(open(leaf, O_PATH | O_DIRECTORY | O_CLOEXEC), "open(%s)", leaf);

	/*
	 * One call gives the child its namespaces and its cgroup. The cgroup namespace is rooted in the new leaf, because
	 * the kernel moves the child there first. Moving a process into a cgroup afterwards would wait for RCU.
	 */
	int pidfd;
	struct clone_args clone = {
		.flags = CLONE_INTO_CGROUP | CLONE_PIDFD | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
			 CLONE_NEWNS | CLONE_NEWCGROUP | (mapped[0] == -1 ? 0 : CLONE_NEWUSER),
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup,
	};
	long pid = syscall(SYS_clone3, &clone, sizeof clone);

	if (pid == 0)
		child(argv[1], argv + 3);
	int code = 125;
	if (pid == -1) {
		fprintf(stderr, "floor: clone3: %s\n", strerror(errno));
	} else {
		if (mapped[0] != -1) {
			write_map(pid, "uid_map");
			write_map(pid, "gid_map");
			CHECK(close(mapped[1]));
		}
		code = code_of(pidfd);
	}
	CHECK_AS(rmdir(leaf), "rmdir(%s)", leaf);
	return code;
}
