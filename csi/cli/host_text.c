/* SPDX-License-Identifier: Apache-2.0 */

/* What an admin reads at night: one line per question, the answer first, its evidence behind it. */

#include "csi/cli/host.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdarg.h>

/* More reasons than this are for --json. */
#define UNKNOWN_LINES_MAX 10U

/* Where lists are broken. */
#define LINE_WIDTH 96U
#define LABEL      "  %-18s"

static void print_line(FILE *file, const char *label, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void print_line(FILE *file, const char *label, const char *format, ...) {
        va_list args;

        fprintf(file, LABEL, label);
        va_start(args, format);
        vfprintf(file, format, args);
        va_end(args);
        fputc('\n', file);
}

/* "(evidence)", or nothing. */
static const char *evidence(char buffer[280], const char *text) {
        snprintf(buffer, 280, str_is_empty(text) ? "%.0s" : "  (%.270s)", text);
        return buffer;
}

static const char *or_unknown(const char *text) {
        return str_is_empty(text) ? "unknown" : text;
}

static void print_names(FILE *file, const char *label, const PlatformNames *names,
                        const char *absent) {
        size_t column = 0;

        if (names->state != FACT_PRESENT || names->n == 0) {
                print_line(file, label, "%s",
                           names->state == FACT_UNKNOWN   ? "unknown, could not be read"
                           : names->state == FACT_PRESENT ? "none"
                                                          : absent);
                return;
        }
        fprintf(file, LABEL, label);
        for (size_t i = 0; i < names->n; i++) {
                size_t n = strlen(names->names[i]);

                if (column > 0 && column + 1 + n > LINE_WIDTH - 20) {
                        fprintf(file, "\n" LABEL, "");
                        column = 0;
                }
                column += (size_t)fprintf(file, column > 0 ? " %s" : "%s", names->names[i]);
        }
        fputc('\n', file);
}

static void print_machine(const Platform *platform, FILE *file) {
        static const char *const orders[] = {"byte order unknown", "little-endian", "big-endian"};
        const KernelRelease *kernel = &platform->kernel;
        char buffer[280], pages[24] = "page size unknown";

        if (platform->page_bytes)
                snprintf(pages, sizeof(pages), "%u KiB pages", platform->page_bytes / 1024);
        fprintf(file, "Machine\n");
        print_line(file, "name", "%s", or_unknown(platform->hostname));
        print_line(file, "architecture", "%s (%s), %s, %s", or_unknown(platform->goarch),
                   or_unknown(platform->machine), orders[platform->byte_order], pages);
        if (!str_is_empty(platform->board))
                print_line(file, "board", "%s", platform->board);
        print_line(file, "kernel", "%s%s", or_unknown(kernel->text),
                   kernel->has_backports ? "  (with backports: the number says little)" : "");
        if (!str_is_empty(platform->desktop))
                print_line(file, "runs on", "%s", platform->desktop);
        print_line(file, "distribution", "%s%s", or_unknown(platform->distribution.name),
                   platform->distribution.is_image ? "  (of the container image, not the host)"
                                                   : "");
        evidence(buffer, platform->virtual_evidence);
        if (platform->is_virtual == PLATFORM_YES)
                print_line(file, "virtual machine", "yes, %s%s",
                           str_is_empty(platform->virtual_kind) ? "kind unknown"
                                                                : platform->virtual_kind,
                           buffer);
        else
                print_line(file, "virtual machine", "%s%s",
                           platform->is_virtual == PLATFORM_NO ? "no" : "unknown", buffer);
}

static void print_surroundings(const Platform *platform, FILE *file) {
        char buffer[280];

        print_line(file, "cloud", "%s%s%s%s", platform_cloud_name(platform->cloud),
                   str_is_empty(platform->cloud_variant) ? "" : ", ", platform->cloud_variant,
                   evidence(buffer, platform->cloud_evidence));
        if (!str_is_empty(platform->cloud_instance_type) ||
            !str_is_empty(platform->cloud_instance_id))
                print_line(file, "instance", "%s, %s", or_unknown(platform->cloud_instance_id),
                           or_unknown(platform->cloud_instance_type));
        print_line(file, "in a container", "%s%s%s%s",
                   platform->is_container == PLATFORM_YES  ? "yes"
                   : platform->is_container == PLATFORM_NO ? "no"
                                                           : "unknown",
                   str_is_empty(platform->container_kind) ? "" : ", ", platform->container_kind,
                   evidence(buffer, platform->container_evidence));
}

static const char *shared_words(const Platform *platform) {
        switch (platform->kubernetes.kubelet_root_shared) {
        case PLATFORM_YES:
                return "yes";
        case PLATFORM_NO:
                return "NO: volumes mounted there do not reach the pods; "
                       "mount --make-rshared it, or in a pod set mountPropagation: Bidirectional";
        case PLATFORM_UNKNOWN:
                break;
        }
        return "unknown";
}

static void print_kubernetes(const Platform *platform, FILE *file) {
        bool is_known = !str_is_empty(platform->kubernetes.distribution);
        const char *none =
                platform->kubernetes.is_present == PLATFORM_NO ? "none found" : "unknown";
        char buffer[280];

        fprintf(file, "Kubernetes\n");
        print_line(file, "distribution", "%s%s",
                   is_known ? platform->kubernetes.distribution : none,
                   evidence(buffer, platform->kubernetes.evidence));
        if (!str_is_empty(platform->kubernetes.note))
                print_line(file, "note", "%s", platform->kubernetes.note);
        if (str_is_empty(platform->kubernetes.kubelet_root)) {
                print_line(file, "kubelet root", "%s%s", none,
                           evidence(buffer, platform->kubernetes.kubelet_evidence));
        } else {
                print_line(file, "kubelet root", "%s%s%s", platform->kubernetes.kubelet_root,
                           platform->kubernetes.kubelet_root_exists == PLATFORM_NO
                                   ? "  does not exist"
                                   : "",
                           evidence(buffer, platform->kubernetes.kubelet_evidence));
                print_line(file, "  mounts shared", "%s", shared_words(platform));
        }
        if (is_known) {
                print_line(file, "CNI plugins", "%s", platform->kubernetes.cni_bin);
                print_line(file, "CNI configuration", "%s", platform->kubernetes.cni_conf);
        }
        for (size_t i = 0; i < platform->n_runtimes; i++)
                print_line(file, "runtime", "%s  (%s)", platform->runtimes[i].name,
                           platform->runtimes[i].socket);
        if (platform->n_runtimes == 0)
                print_line(file, "runtime", "no socket of one found");
}

static void print_filesystems(const Platform *platform, FILE *file) {
        char label[32];

        fprintf(file, "Filesystems that the kernel has loaded (others may be modules)\n");
        print_names(file, "on disks", &platform->block_filesystems, "none");
        print_names(file, "others", &platform->other_filesystems, "none");
        for (PlatformFs fs = 0; fs < _PLATFORM_FS_N; fs++) {
                snprintf(label, sizeof(label), "%s features", platform_fs_name(fs));
                print_names(file, label, &platform->features[fs],
                            "not shown: the driver is not loaded, or is older than this list");
        }
}

static void print_unknown(const Platform *platform, FILE *file) {
        size_t n = 0;

        for (FactId id = 0; id < _FACT_N; id++) {
                const Fact *fact = &platform->facts->facts[id];

                if (fact->state != FACT_UNKNOWN || fact->os_errno == 0)
                        continue;
                if (n++ == 0)
                        fprintf(file, "Could not be read\n");
                if (n > UNKNOWN_LINES_MAX)
                        continue;
                errno = fact->os_errno;
                fprintf(file, "  %s: %m%s\n", facts_path(platform->facts, id),
                        fact->os_errno == EACCES ? "; run as root" : "");
        }
        if (n > UNKNOWN_LINES_MAX)
                fprintf(file, "  and %zu more, see --json\n", n - UNKNOWN_LINES_MAX);
}

void host_print(const Platform *platform, FILE *file) {
        print_machine(platform, file);
        print_surroundings(platform, file);
        print_kubernetes(platform, file);
        print_filesystems(platform, file);
        print_unknown(platform, file);
}
