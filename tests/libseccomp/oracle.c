/* Compiles a profile with libseccomp. Reads lines from standard input:
 *
 *     resolve ARCH NAME                        prints the number, or "none"
 *     default ACTION                           starts a profile; numbers are in C syntax
 *     arch NAME                                adds an architecture by its libseccomp name; the first is the native one
 *     rule ACTION NAME [INDEX OP VALUE TWO]…   prints "ok", or "unknown", or an errno
 *     export                                   prints the program in hexadecimal, eight bytes per instruction
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static scmp_filter_ctx filter;
static int archs;

static uint64_t number(void)
{
    char *word = strtok(NULL, " \n");
    if (!word)
        exit(3);
    return strtoull(word, NULL, 0);
}

static void begin(void)
{
    if (filter)
        seccomp_release(filter);
    filter = seccomp_init((uint32_t)number());
    if (!filter)
        exit(4);
    archs = 0;
}

static void arch(void)
{
    uint32_t token = seccomp_arch_resolve_name(strtok(NULL, " \n"));
    int result = 0;
    if (archs++ == 0 && token != seccomp_arch_native())
        result = seccomp_arch_remove(filter, seccomp_arch_native());
    if (result == 0 && !(archs == 1 && token == seccomp_arch_native()))
        result = seccomp_arch_add(filter, token);
    printf("%d\n", result);
}

static void rule(void)
{
    uint32_t action = (uint32_t)number();
    char *name = strtok(NULL, " \n"), *back;
    int call = seccomp_syscall_resolve_name(name);
    struct scmp_arg_cmp args[6];
    unsigned count = 0;
    char *word;
    /* Calls of other architectures have pseudo numbers here, some of which are shared: then the name resolves to another call. */
    back = call == __NR_SCMP_ERROR ? NULL : seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
    int same = back && !strcmp(name, back);
    free(back);
    if (!same) {
        puts("unknown");
        return;
    }
    while ((word = strtok(NULL, " \n")) && count < 6) {
        args[count].arg = (unsigned)strtoul(word, NULL, 0);
        args[count].op = (enum scmp_compare)number();
        args[count].datum_a = number();
        args[count].datum_b = number();
        count++;
    }
    int result = seccomp_rule_add_array(filter, action, call, count, args);
    if (result == 0)
        puts("ok");
    else
        printf("%s\n", strerrorname_np(-result));
}

static void export(void)
{
    unsigned char insn[8];
    int fd = memfd_create("program", 0);
    if (fd < 0 || seccomp_export_bpf(filter, fd) != 0 || lseek(fd, 0, SEEK_SET) != 0)
        exit(5);
    while (read(fd, insn, sizeof insn) == sizeof insn)
        for (size_t i = 0; i < sizeof insn; i++)
            printf("%02x", insn[i]);
    putchar('\n');
    close(fd);
}

int main(void)
{
    static char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *verb = strtok(line, " \n");
        if (!verb)
            continue;
        if (!strcmp(verb, "resolve")) {
            uint32_t token = seccomp_arch_resolve_name(strtok(NULL, " \n"));
            int call = token ? seccomp_syscall_resolve_name_arch(token, strtok(NULL, " \n")) : -1;
            if (call < 0)
                puts(token ? "none" : "arch");
            else
                printf("%d\n", call);
        } else if (!strcmp(verb, "default")) {
            begin();
        } else if (!strcmp(verb, "arch")) {
            arch();
        } else if (!strcmp(verb, "rule")) {
            rule();
        } else if (!strcmp(verb, "export")) {
            export();
        }
        fflush(stdout);
    }
    return 0;
}
