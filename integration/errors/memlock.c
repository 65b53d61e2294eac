/* Preloaded into crun by `record`. crun raises the limit of locked memory before it loads a BPF program, which needs CAP_SYS_RESOURCE;
 * since Linux 5.11 the program does not count against that limit. Where root lacks the capability, crun would say only that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
    int (*real)(__rlimit_resource_t, const struct rlimit *) = dlsym(RTLD_NEXT, "setrlimit");
    int result = real(resource, limit);
    return resource == RLIMIT_MEMLOCK ? 0 : result;
}
