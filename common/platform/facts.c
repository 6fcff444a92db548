/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the facts of a machine below a root directory. Judges nothing. Files come from firmware,
 * from the kernel and, in a recorded tree, from strangers: each has a kind and a limit.
 */

#include "common/platform/facts.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/platform/facts_internal.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

typedef enum FactKind {
        FACT_KIND_LINE, /* one line of text */
        FACT_KIND_TEXT, /* a whole file */
        FACT_KIND_HEAD, /* the start of a file; the rest does not matter */
        FACT_KIND_FILE, /* exists and is no directory; runtimes that are gone leave directories
                           where a mount wanted their socket */
        FACT_KIND_DIRECTORY,
        FACT_KIND_NAMES,   /* what a directory holds */
        FACT_KIND_SPECIAL, /* read by a function of its own */
} FactKind;

/* SMBIOS strings have at most 255 bytes by habit, and no standard limit. */
#define LINE_MAX_BYTES 4096U
/* The largest /proc/filesystems seen has 50 lines. */
#define TEXT_MAX_BYTES (64U * 1024)
/* 10,000 mounts of 400 bytes; a node with 250 pods has about 2,000. */
#define MOUNTINFO_MAX_BYTES (4U * 1024 * 1024)
/* The first processor's block; 512 of them are 800 KiB. */
#define CPUINFO_HEAD_BYTES 8192U
/* Entries of a features directory: btrfs has 22. */
#define NAMES_MAX 256U

typedef struct FactRow {
        FactKind kind;
        bool is_always_there; /* where /proc or /sys is: "not there" means that we cannot see */
        const char *path;
        const char *tree_path; /* for another machine's tree, when it differs */
        size_t limit;          /* 0: by kind */
} FactRow;

#define DMI(name)                                                                                  \
        { FACT_KIND_LINE, false, "/sys/class/dmi/id/" name, NULL, 0 }

/* clang-format off */
static const FactRow rows[_FACT_N] = {
        [FACT_SYS_VENDOR]             = DMI("sys_vendor"),
        [FACT_PRODUCT_NAME]           = DMI("product_name"),
        [FACT_PRODUCT_SERIAL]         = DMI("product_serial"),
        [FACT_PRODUCT_UUID]           = DMI("product_uuid"),
        [FACT_CHASSIS_ASSET_TAG]      = DMI("chassis_asset_tag"),
        [FACT_CHASSIS_VENDOR]         = DMI("chassis_vendor"),
        [FACT_BOARD_VENDOR]           = DMI("board_vendor"),
        [FACT_BOARD_NAME]             = DMI("board_name"),
        [FACT_BOARD_ASSET_TAG]        = DMI("board_asset_tag"),
        [FACT_BIOS_VENDOR]            = DMI("bios_vendor"),
        [FACT_BIOS_VERSION]           = DMI("bios_version"),
        [FACT_SYS_CLASS]              = {FACT_KIND_DIRECTORY, true, "/sys/class", NULL, 0},
        [FACT_DMI]                    = {FACT_KIND_DIRECTORY, false, "/sys/class/dmi/id", NULL, 0},
        [FACT_HYPERVISOR_TYPE]        = {FACT_KIND_LINE, false, "/sys/hypervisor/type", NULL, 0},
        [FACT_HYPERVISOR_UUID]        = {FACT_KIND_LINE, false, "/sys/hypervisor/uuid", NULL, 0},
        [FACT_DEVICE_TREE_MODEL]      = {FACT_KIND_LINE, false,
                                         "/sys/firmware/devicetree/base/model", NULL, 0},
        [FACT_DEVICE_TREE_HYPERVISOR] = {FACT_KIND_LINE, false,
                                         "/sys/firmware/devicetree/base/hypervisor/compatible", NULL, 0},
        [FACT_DEVICE_TREE_PARTITION]  = {FACT_KIND_FILE, false,
                                         "/sys/firmware/devicetree/base/ibm,partition-name", NULL, 0},
        [FACT_S390_SYSINFO]           = {FACT_KIND_TEXT, false, "/proc/sysinfo", NULL, 0},
        [FACT_CPUINFO]                = {FACT_KIND_HEAD, true, "/proc/cpuinfo", NULL, CPUINFO_HEAD_BYTES},
        [FACT_CPUID_HYPERVISOR]       = {FACT_KIND_SPECIAL, false, "CPUID leaf 40000000h", NULL, 0},

        [FACT_HOSTNAME]               = {FACT_KIND_LINE, true, "/proc/sys/kernel/hostname", NULL, 0},
        [FACT_KERNEL_RELEASE]         = {FACT_KIND_LINE, true, "/proc/sys/kernel/osrelease", NULL, 0},
        [FACT_KERNEL_MACHINE]         = {FACT_KIND_LINE, true, "/proc/sys/kernel/arch", NULL, 0},
        [FACT_AUXV]                   = {FACT_KIND_TEXT, true, "/proc/self/auxv", NULL, LINE_MAX_BYTES},
        [FACT_CMDLINE]                = {FACT_KIND_LINE, true, "/proc/cmdline", NULL, 0},
        [FACT_FILESYSTEMS]            = {FACT_KIND_TEXT, true, "/proc/filesystems", NULL, 0},
        [FACT_EXT4_FEATURES]          = {FACT_KIND_NAMES, false, "/sys/fs/ext4/features", NULL, 0},
        [FACT_BTRFS_FEATURES]         = {FACT_KIND_NAMES, false, "/sys/fs/btrfs/features", NULL, 0},
        [FACT_BTRFS_SECTOR_SIZES]     = {FACT_KIND_LINE, false,
                                         "/sys/fs/btrfs/features/supported_sectorsizes", NULL, 0},
        [FACT_F2FS_FEATURES]          = {FACT_KIND_NAMES, false, "/sys/fs/f2fs/features", NULL, 0},
        [FACT_EROFS_FEATURES]         = {FACT_KIND_NAMES, false, "/sys/fs/erofs/features", NULL, 0},
        [FACT_MOUNTINFO]              = {FACT_KIND_TEXT, true, "/proc/self/mountinfo", "/proc/1/mountinfo",
                                         MOUNTINFO_MAX_BYTES},
        [FACT_CGROUP]                 = {FACT_KIND_TEXT, true, "/proc/self/cgroup", "/proc/1/cgroup", 0},
        [FACT_OS_RELEASE]             = {FACT_KIND_TEXT, false, "/etc/os-release", NULL, 0},
        [FACT_OS_RELEASE_VENDOR]      = {FACT_KIND_TEXT, false, "/usr/lib/os-release", NULL, 0},

        [FACT_SCALEWAY_RUN]           = {FACT_KIND_FILE, false, "/var/run/scaleway", NULL, 0},
        [FACT_VULTR_ETC]              = {FACT_KIND_FILE, false, "/etc/vultr", NULL, 0},

        [FACT_DOCKERENV]              = {FACT_KIND_FILE, false, "/.dockerenv", NULL, 0},
        [FACT_CONTAINERENV]           = {FACT_KIND_FILE, false, "/run/.containerenv", NULL, 0},
        [FACT_SYSTEMD_CONTAINER]      = {FACT_KIND_LINE, false, "/run/systemd/container", NULL, 0},
        [FACT_SERVICE_ACCOUNT]        = {FACT_KIND_DIRECTORY, false,
                                         "/run/secrets/kubernetes.io/serviceaccount", NULL, 0},

        [FACT_SOCKET_CONTAINERD]      = {FACT_KIND_FILE, false, "/run/containerd/containerd.sock", NULL, 0},
        [FACT_SOCKET_K3S]             = {FACT_KIND_FILE, false, "/run/k3s/containerd/containerd.sock", NULL, 0},
        [FACT_SOCKET_MICROK8S]        = {FACT_KIND_FILE, false,
                                         "/var/snap/microk8s/common/run/containerd.sock", NULL, 0},
        [FACT_SOCKET_K0S]             = {FACT_KIND_FILE, false, "/run/k0s/containerd.sock", NULL, 0},
        [FACT_SOCKET_CRIO]            = {FACT_KIND_FILE, false, "/run/crio/crio.sock", NULL, 0},
        [FACT_SOCKET_DOCKER]          = {FACT_KIND_FILE, false, "/run/docker.sock", NULL, 0},
        [FACT_SOCKET_CRI_DOCKERD]     = {FACT_KIND_FILE, false, "/run/cri-dockerd.sock", NULL, 0},
        [FACT_SOCKET_DOCKERSHIM]      = {FACT_KIND_FILE, false, "/run/dockershim.sock", NULL, 0},

        [FACT_MICROK8S]               = {FACT_KIND_DIRECTORY, false, "/var/snap/microk8s/current", NULL, 0},
        [FACT_K8S_SNAP]               = {FACT_KIND_DIRECTORY, false, "/var/snap/k8s/common", NULL, 0},
        [FACT_MINIKUBE]               = {FACT_KIND_DIRECTORY, false, "/var/lib/minikube", NULL, 0},
        [FACT_KIND]                   = {FACT_KIND_DIRECTORY, false, "/kind", NULL, 0},
        [FACT_K3D]                    = {FACT_KIND_FILE, false, "/bin/k3d-entrypoint.sh", NULL, 0},
        [FACT_RKE2]                   = {FACT_KIND_DIRECTORY, false, "/var/lib/rancher/rke2", NULL, 0},
        [FACT_K3S]                    = {FACT_KIND_DIRECTORY, false, "/var/lib/rancher/k3s", NULL, 0},
        [FACT_K0S]                    = {FACT_KIND_DIRECTORY, false, "/var/lib/k0s", NULL, 0},
        [FACT_OPENSHIFT_CNI]          = {FACT_KIND_DIRECTORY, false, "/etc/kubernetes/cni/net.d", NULL, 0},
        [FACT_MACHINE_CONFIG]         = {FACT_KIND_DIRECTORY, false, "/etc/machine-config-daemon", NULL, 0},
        [FACT_MICROSHIFT]             = {FACT_KIND_DIRECTORY, false, "/var/lib/microshift", NULL, 0},
        [FACT_GKE_BIN]                = {FACT_KIND_DIRECTORY, false, "/home/kubernetes/bin", NULL, 0},
        [FACT_EKS]                    = {FACT_KIND_DIRECTORY, false, "/etc/eks", NULL, 0},
        [FACT_AKS]                    = {FACT_KIND_FILE, false, "/etc/kubernetes/azure.json", NULL, 0},
        [FACT_RKE1]                   = {FACT_KIND_DIRECTORY, false, "/opt/rke", NULL, 0},
        [FACT_KOPS]                   = {FACT_KIND_DIRECTORY, false, "/opt/kops", NULL, 0},
        [FACT_KUBEADM]                = {FACT_KIND_FILE, false, "/var/lib/kubelet/kubeadm-flags.env", NULL, 0},
        [FACT_KUBELET_CONF]           = {FACT_KIND_FILE, false, "/var/lib/kubelet/config.yaml", NULL, 0},
        [FACT_K3S_CNI]                = {FACT_KIND_DIRECTORY, false, "/var/lib/rancher/k3s/data/cni", NULL, 0},
        [FACT_K3S_CNI_OLD]            = {FACT_KIND_DIRECTORY, false,
                                         "/var/lib/rancher/k3s/data/current/bin", NULL, 0},
        [FACT_KUBELET_PROCESS]        = {FACT_KIND_SPECIAL, false, "/proc/<kubelet>/cmdline", NULL, 0},
        [FACT_ROOT_DEFAULT]           = {FACT_KIND_DIRECTORY, false, "/var/lib/kubelet", NULL, 0},
        [FACT_ROOT_K0S]               = {FACT_KIND_DIRECTORY, false, "/var/lib/k0s/kubelet", NULL, 0},
        [FACT_ROOT_MICROK8S]          = {FACT_KIND_DIRECTORY, false,
                                         "/var/snap/microk8s/common/var/lib/kubelet", NULL, 0},
        [FACT_ROOT_K8S_SNAP]          = {FACT_KIND_DIRECTORY, false,
                                         "/var/snap/k8s/common/var/lib/kubelet", NULL, 0},
        [FACT_ROOT_K3S_OLD]           = {FACT_KIND_DIRECTORY, false,
                                         "/var/lib/rancher/k3s/agent/kubelet", NULL, 0},
        [FACT_ROOT_RKE1]              = {FACT_KIND_DIRECTORY, false, "/opt/rke/var/lib/kubelet", NULL, 0},
        [FACT_ROOT_OPENSHIFT3]        = {FACT_KIND_DIRECTORY, false,
                                         "/var/lib/origin/openshift.local.volumes", NULL, 0},
        [FACT_ROOT_BCM]               = {FACT_KIND_DIRECTORY, false,
                                         "/cm/local/apps/kubernetes/var/kubelet", NULL, 0},
};
/* clang-format on */

static const char *row_path(bool is_live, FactId id) {
        return !is_live && rows[id].tree_path ? rows[id].tree_path : rows[id].path;
}

static void set_unknown(Fact *fact, int r) {
        fact->state = FACT_UNKNOWN;
        fact->os_errno = -r;
}

static void set_missing(Fact *fact, const FactRow *row, int r) {
        bool is_missing = r == -ENOENT || r == -ENOTDIR;

        if (is_missing && !row->is_always_there)
                fact->state = FACT_ABSENT;
        else
                set_unknown(fact, r);
}

int fact_set_text(Fact *fact, const char *text, size_t n) {
        char *copy = malloc(n + 1);

        if (!copy)
                return -ENOMEM;
        memcpy(copy, text, n);
        copy[n] = '\0';
        free(fact->text);
        *fact = (Fact){.state = FACT_PRESENT, .text = copy, .n = n};
        return 0;
}

/* Device tree strings end in a NUL, others in a newline, some in neither. */
int fact_set_line(Fact *fact, char *text) {
        text[strcspn(text, "\n")] = '\0';
        for (char *c = text; *c; c++)
                if (iscntrl((unsigned char)*c))
                        *c = ' ';
        str_make_utf8(text);
        str_trim_end(text);
        return fact_set_text(fact, text, strlen(text));
}

/* Up to @limit bytes of what may be longer. */
static int read_head(int fd, size_t limit, char **textp, size_t *np) {
        cleanup(freep) char *text = malloc(limit + 1);
        size_t n = 0;

        if (!text)
                return -ENOMEM;
        while (n < limit) {
                ssize_t more = read(fd, text + n, limit - n);

                if (more < 0 && errno == EINTR)
                        continue;
                if (more < 0)
                        return -errno;
                if (more == 0)
                        break;
                n += (size_t)more;
        }
        text[n] = '\0';
        *np = n;
        *textp = ptr_steal(&text);
        return 0;
}

/* file_read_in_root() for trees of strangers: never waits for the other end of a FIFO. */
int fact_read_file(int root_fd, const char *path, size_t limit, bool is_head, char **textp,
                   size_t *np) {
        cleanup(closep) int fd = -1;
        struct stat st;

        fd = file_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTSUP;
        return is_head ? read_head(fd, limit, textp, np) : file_read_fd(fd, limit, textp, np);
}

static int read_content(int root_fd, const FactRow *row, const char *path, Fact *fact) {
        cleanup(freep) char *text = NULL;
        size_t limit = row->limit, n = 0;
        int r;

        if (limit == 0)
                limit = row->kind == FACT_KIND_LINE ? LINE_MAX_BYTES : TEXT_MAX_BYTES;
        r = fact_read_file(root_fd, path, limit, row->kind == FACT_KIND_HEAD, &text, &n);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || !text) {
                set_missing(fact, row, r);
                return 0;
        }
        if (row->kind == FACT_KIND_LINE)
                return fact_set_line(fact, text);
        return fact_set_text(fact, text, n);
}

static int read_existence(int root_fd, const FactRow *row, const char *path, Fact *fact) {
        cleanup(closep) int fd = file_open_in_root(root_fd, path, O_PATH | O_CLOEXEC);
        struct stat st;

        if (fd >= 0 && fstat(fd, &st) == 0) {
                if (S_ISDIR(st.st_mode) == (row->kind == FACT_KIND_DIRECTORY))
                        return fact_set_text(fact, "", 0);
                fact->state = FACT_ABSENT;
        } else {
                set_missing(fact, row, fd < 0 ? fd : -errno);
        }
        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static int join_names(Fact *fact, char **names, size_t n_names) {
        cleanup(strbuf_deinit) StrBuf buf = {0};

        qsort(names, n_names, sizeof(*names), compare_names);
        for (size_t i = 0; i < n_names; i++) {
                strbuf_append(&buf, names[i]);
                strbuf_append(&buf, "\n");
        }
        return buf.failed ? -ENOMEM : fact_set_text(fact, strbuf_text(&buf), buf.n);
}

/* The names that can be features: no hidden files, nothing that JSON or a terminal minds. */
static bool is_plain_name(const char *name) {
        if (name[0] == '.' || name[0] == '\0')
                return false;
        for (; *name; name++)
                if (!isalnum((unsigned char)*name) && !strchr("_-.+", *name))
                        return false;
        return true;
}

static int read_names(int root_fd, const FactRow *row, const char *path, Fact *fact) {
        cleanup(closedirp) DIR *dir = NULL;
        char *names[NAMES_MAX];
        const struct dirent *entry;
        size_t n_names = 0;
        int fd, r = 0;

        fd = file_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                set_missing(fact, row, fd);
                return 0;
        }
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while (r == 0 && (entry = readdir(dir))) {
                if (!is_plain_name(entry->d_name))
                        continue;
                if (n_names == NAMES_MAX)
                        r = -EFBIG;
                else if (!(names[n_names] = strdup(entry->d_name)))
                        r = -ENOMEM;
                else
                        n_names++;
        }
        if (r == -EFBIG)
                set_unknown(fact, r);
        else if (r == 0)
                r = join_names(fact, names, n_names);
        while (n_names > 0)
                free(names[--n_names]);
        return r == -ENOMEM ? r : 0;
}

static int read_fact(int root_fd, bool is_live, FactId id, Fact *fact) {
        const FactRow *row = &rows[id];
        const char *path = row_path(is_live, id);

        switch (row->kind) {
        case FACT_KIND_LINE:
        case FACT_KIND_TEXT:
        case FACT_KIND_HEAD:
                return read_content(root_fd, row, path, fact);
        case FACT_KIND_FILE:
        case FACT_KIND_DIRECTORY:
                return read_existence(root_fd, row, path, fact);
        case FACT_KIND_NAMES:
                return read_names(root_fd, row, path, fact);
        case FACT_KIND_SPECIAL:
                break;
        }
        return 0;
}

/* Without /sys or /proc nothing below them was looked at, so nothing below them is "not there". */
static void doubt_absent(Facts *facts) {
        bool has_sys = facts->facts[FACT_SYS_CLASS].state == FACT_PRESENT;

        for (FactId id = 0; id < _FACT_N; id++)
                if (facts->facts[id].state == FACT_ABSENT && !has_sys &&
                    str_has_prefix(rows[id].path, "/sys/"))
                        set_unknown(&facts->facts[id], -ENOENT);
}

/* What the running kernel says itself is better than files, which may be hidden from us. */
static int read_live(Facts *facts) {
        struct utsname names;
        int r;

        if (uname(&names) < 0)
                return 0;
        r = fact_set_text(&facts->facts[FACT_KERNEL_RELEASE], names.release, strlen(names.release));
        if (r == 0)
                r = fact_set_text(&facts->facts[FACT_KERNEL_MACHINE], names.machine,
                                  strlen(names.machine));
        if (r == 0)
                r = fact_set_text(&facts->facts[FACT_HOSTNAME], names.nodename,
                                  strlen(names.nodename));
        return r < 0 ? r : facts_read_cpuid(&facts->facts[FACT_CPUID_HYPERVISOR]);
}

int facts_read(int root_fd, bool is_live, Facts **factsp) {
        Facts *facts = calloc(1, sizeof(*facts));
        int r = 0;

        if (!facts)
                return -ENOMEM;
        facts->is_live = is_live;
        for (FactId id = 0; r == 0 && id < _FACT_N; id++)
                r = read_fact(root_fd, is_live, id, &facts->facts[id]);
        if (r == 0)
                r = facts_read_kubelet(root_fd, &facts->facts[FACT_KUBELET_PROCESS]);
        if (r == 0 && is_live)
                r = read_live(facts);
        if (r < 0) {
                facts_free(facts);
                return r;
        }
        doubt_absent(facts);
        *factsp = facts;
        return 0;
}

void facts_free(Facts *facts) {
        if (!facts)
                return;
        for (FactId id = 0; id < _FACT_N; id++)
                free(facts->facts[id].text);
        free(facts);
}

const char *facts_text(const Facts *facts, FactId id) {
        return facts->facts[id].state == FACT_PRESENT ? facts->facts[id].text : "";
}

const char *facts_path(const Facts *facts, FactId id) {
        return row_path(facts->is_live, id);
}

int facts_set(Facts *facts, FactId id, const char *text) {
        Fact *fact = &facts->facts[id];

        if (text)
                return fact_set_text(fact, text, strlen(text));
        free(fact->text);
        *fact = (Fact){.state = FACT_ABSENT};
        return 0;
}
