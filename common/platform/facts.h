/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PLATFORM_FACTS_H
#define BERTH_PLATFORM_FACTS_H

/*
 * What this machine's files say, unjudged. Every file is read below a root directory, so that a
 * recorded tree of another machine reads like the machine itself. "Not there" and "could not be
 * read" are two answers and are never mixed up.
 */

#include <stdbool.h>
#include <stddef.h>

/* One file, directory or path each; facts.c has the table of paths and limits. */
typedef enum FactId {
        /* Firmware tables; product_serial and product_uuid are readable by root only. */
        FACT_SYS_VENDOR,
        FACT_PRODUCT_NAME,
        FACT_PRODUCT_SERIAL,
        FACT_PRODUCT_UUID,
        FACT_CHASSIS_ASSET_TAG,
        FACT_CHASSIS_VENDOR,
        FACT_BOARD_VENDOR,
        FACT_BOARD_NAME,
        FACT_BOARD_ASSET_TAG,
        FACT_BIOS_VENDOR,
        FACT_BIOS_VERSION,
        FACT_SYS_CLASS, /* whether sysfs is there at all */
        FACT_DMI,       /* whether the firmware has such tables */
        FACT_HYPERVISOR_TYPE,
        FACT_HYPERVISOR_UUID,
        FACT_DEVICE_TREE_MODEL,
        FACT_DEVICE_TREE_HYPERVISOR,
        FACT_DEVICE_TREE_PARTITION, /* PowerVM */
        FACT_S390_SYSINFO,
        FACT_CPUINFO,
        FACT_CPUID_HYPERVISOR, /* the running processor's own word, x86 only */

        /* Kernel and this process. */
        FACT_HOSTNAME,
        FACT_KERNEL_RELEASE,
        FACT_KERNEL_MACHINE,
        FACT_AUXV,
        FACT_CMDLINE,
        FACT_FILESYSTEMS,
        FACT_EXT4_FEATURES,
        FACT_BTRFS_FEATURES,
        FACT_BTRFS_SECTOR_SIZES,
        FACT_F2FS_FEATURES,
        FACT_EROFS_FEATURES,
        FACT_MOUNTINFO,
        FACT_CGROUP,
        FACT_OS_RELEASE,
        FACT_OS_RELEASE_VENDOR,

        /* Signs of clouds beside the firmware. */
        FACT_SCALEWAY_RUN,
        FACT_VULTR_ETC,

        /* Signs of being in a container. */
        FACT_DOCKERENV,
        FACT_CONTAINERENV,
        FACT_SYSTEMD_CONTAINER,
        FACT_SERVICE_ACCOUNT,

        /* Container runtimes. */
        FACT_SOCKET_CONTAINERD,
        FACT_SOCKET_K3S,
        FACT_SOCKET_MICROK8S,
        FACT_SOCKET_K0S,
        FACT_SOCKET_CRIO,
        FACT_SOCKET_DOCKER,
        FACT_SOCKET_CRI_DOCKERD,
        FACT_SOCKET_DOCKERSHIM,

        /* Kubernetes distributions and their directories. */
        FACT_MICROK8S,
        FACT_K8S_SNAP,
        FACT_MINIKUBE,
        FACT_KIND,
        FACT_K3D,
        FACT_RKE2,
        FACT_K3S,
        FACT_K0S,
        FACT_OPENSHIFT_CNI,
        FACT_MACHINE_CONFIG,
        FACT_MICROSHIFT,
        FACT_GKE_BIN,
        FACT_EKS,
        FACT_AKS,
        FACT_RKE1,
        FACT_KOPS,
        FACT_KUBEADM,
        FACT_KUBELET_CONF,
        FACT_K3S_CNI,
        FACT_K3S_CNI_OLD,
        FACT_KUBELET_PROCESS, /* its arguments, one a line */
        FACT_ROOT_DEFAULT,
        FACT_ROOT_K0S,
        FACT_ROOT_MICROK8S,
        FACT_ROOT_K8S_SNAP,
        FACT_ROOT_K3S_OLD,
        FACT_ROOT_RKE1,
        FACT_ROOT_OPENSHIFT3,
        FACT_ROOT_BCM,
        _FACT_N,
} FactId;

typedef enum FactState {
        FACT_UNKNOWN = 0, /* not asked, or not readable: see os_errno */
        FACT_ABSENT,      /* looked, and it is not there */
        FACT_PRESENT,
} FactState;

typedef struct Fact {
        FactState state;
        int os_errno; /* why it is unknown; 0 if it was not asked */
        char *text;   /* owned; NULL unless present. A line is valid UTF-8 without control
                         characters; a directory is its names, sorted, one a line */
        size_t n;     /* bytes of @text: a binary file may hold NULs */
} Fact;

typedef struct Facts {
        Fact facts[_FACT_N];
        bool is_live; /* of the machine that this process runs on */
} Facts;

/**
 * facts_read() - read them all
 * @root_fd: the directory that stands for /
 * @is_live: it is this process's own /. Then uname(2), sysconf(3) and CPUID are asked as well, and
 *           /proc/self stands for this process; else /proc/1 for the machine
 * @factsp:  caller frees with facts_free()
 *
 * Nothing is waited for: no network, no device, and a FIFO in a recorded tree is not opened for
 * its writer. Every read has a limit; a file beyond it is unknown with EFBIG.
 *
 * Return: 0, however little was there; -ENOMEM.
 */
int facts_read(int root_fd, bool is_live, Facts **factsp);

void facts_free(Facts *facts);

/* The text of a fact that is present, else "". */
const char *facts_text(const Facts *facts, FactId id);

/* Where a fact comes from, with a leading "/". Static. */
const char *facts_path(const Facts *facts, FactId id);

/**
 * facts_set() - for tests: make it present with @text, or, with NULL, absent
 *
 * Return: 0; -ENOMEM.
 */
int facts_set(Facts *facts, FactId id, const char *text);

#endif
