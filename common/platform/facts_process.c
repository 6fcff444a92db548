/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two facts that are no file of a known name: the kubelet's arguments, and what the processor says
 * of its hypervisor. k3s, rke2, k0s and microk8s run kubelet inside a process of another name; for
 * them the tables of directories must do.
 */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/platform/facts_internal.h"

#include <fcntl.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

/* A node with more processes than this is not searched to the end. */
#define PROCESSES_MAX 32768U

/* kubelet's flags take a few hundred bytes. */
#define COMMAND_LINE_MAX 65536U

static bool is_kubelet(int root_fd, const char *pid) {
        cleanup(freep) char *name = NULL;
        char path[64];
        size_t n;

        snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
        if (fact_read_file(root_fd, path, 64, false, &name, &n) < 0)
                return false;
        str_trim_end(name);
        return str_equal(name, "kubelet");
}

static int take_arguments(int root_fd, const char *pid, Fact *fact) {
        cleanup(freep) char *text = NULL;
        char path[64];
        size_t n;
        int r;

        snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
        r = fact_read_file(root_fd, path, COMMAND_LINE_MAX, false, &text, &n);
        if (r < 0) {
                fact->os_errno = -r;
                return r == -ENOMEM ? r : 0;
        }
        for (size_t i = 0; i < n; i++)
                if (text[i] == '\0')
                        text[i] = '\n';
        return fact_set_text(fact, text, n);
}

int facts_read_kubelet(int root_fd, Fact *fact) {
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        size_t n_seen = 0;
        int fd;

        fd = file_open_in_root(root_fd, "/proc", O_RDONLY | O_DIRECTORY);
        if (fd < 0) {
                fact->os_errno = -fd;
                return 0;
        }
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir)) && n_seen < PROCESSES_MAX) {
                if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
                        continue;
                n_seen++;
                if (is_kubelet(root_fd, entry->d_name))
                        return take_arguments(root_fd, entry->d_name, fact);
        }
        fact->state = FACT_ABSENT;
        return 0;
}

#if defined(__x86_64__) || defined(__i386__)
int facts_read_cpuid(Fact *fact) {
        unsigned int eax, ebx, ecx, edx;
        char name[13] = "";

        fact->state = FACT_ABSENT;
        if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & (1U << 31)))
                return 0;
        __cpuid(0x40000000U, eax, ebx, ecx, edx);
        memcpy(name, &ebx, 4);
        memcpy(name + 4, &ecx, 4);
        memcpy(name + 8, &edx, 4);
        return fact_set_line(fact, name);
}
#else
int facts_read_cpuid(Fact *fact) {
        fact->state = FACT_ABSENT;
        return 0;
}
#endif
