/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PLATFORM_PLATFORM_H
#define BERTH_PLATFORM_PLATFORM_H

/*
 * Which machine this is. Learned from local files alone (facts.h): no network, no exec, no write.
 * Nothing is guessed: what could not be read stays unknown, and what was concluded comes with its
 * evidence, one clause for people.
 *
 * A Platform does not change after platform_read() and may be shared between threads.
 */

#include "common/platform/facts.h"
#include "common/platform/kernel_release.h"

#include <stdint.h>

typedef enum PlatformTri {
        PLATFORM_UNKNOWN = 0,
        PLATFORM_NO,
        PLATFORM_YES,
} PlatformTri;

typedef enum PlatformByteOrder {
        PLATFORM_BYTE_ORDER_UNKNOWN = 0,
        PLATFORM_BYTE_ORDER_LITTLE,
        PLATFORM_BYTE_ORDER_BIG,
} PlatformByteOrder;

/* Who runs the (virtual) machine, as far as its storage and metadata service are concerned. */
typedef enum PlatformCloud {
        PLATFORM_CLOUD_UNKNOWN = 0, /* nothing matched, and not all could be read */
        PLATFORM_CLOUD_NONE,        /* all was read, and nothing matched */
        PLATFORM_CLOUD_AWS,
        PLATFORM_CLOUD_AZURE,
        PLATFORM_CLOUD_GCE,
        PLATFORM_CLOUD_OPENSTACK, /* variant: "nova", "open-telekom-cloud", "huawei" ... */
        PLATFORM_CLOUD_ALIBABA,
        PLATFORM_CLOUD_DIGITALOCEAN,
        PLATFORM_CLOUD_HETZNER,
        PLATFORM_CLOUD_LINODE,
        PLATFORM_CLOUD_ORACLE,
        PLATFORM_CLOUD_SCALEWAY,
        PLATFORM_CLOUD_VULTR,
        PLATFORM_CLOUD_EXOSCALE,
        PLATFORM_CLOUD_UPCLOUD,
        PLATFORM_CLOUD_CLOUDSTACK,
        PLATFORM_CLOUD_VMWARE,
        PLATFORM_CLOUD_EC2_COMPATIBLE, /* EC2's metadata protocol, not AWS; variant: "outscale" ...
                                        */
        _PLATFORM_CLOUD_N,
} PlatformCloud;

/* A list of short names from the kernel. */
#define PLATFORM_NAMES_MAX 80
typedef struct PlatformNames {
        FactState state; /* ABSENT: the kernel shows no such list, e.g. the driver is not loaded */
        size_t n;
        char names[PLATFORM_NAMES_MAX][32];
} PlatformNames;

typedef enum PlatformFs {
        PLATFORM_FS_EXT4,
        PLATFORM_FS_BTRFS,
        PLATFORM_FS_F2FS,
        PLATFORM_FS_EROFS,
        _PLATFORM_FS_N,
} PlatformFs;

typedef struct PlatformRuntime {
        const char *name;   /* static: "containerd", "cri-o", "docker", "cri-dockerd" */
        const char *socket; /* static: absolute path below the root */
} PlatformRuntime;

#define PLATFORM_RUNTIMES_MAX 8

/* Every text is "" when not known. */
struct Platform {
        /* Machine. */
        char hostname[65];
        char machine[32];    /* uname -m: "aarch64" */
        char goarch[16];     /* the same as Kubernetes and image registries write it: "arm64" */
        uint32_t page_bytes; /* 0: unknown */
        PlatformByteOrder byte_order;
        char board[96]; /* device tree model: "Raspberry Pi 5 Model B Rev 1.0" */

        /* Kernel; text is "" when unknown. */
        KernelRelease kernel;
        const char *desktop; /* static: "wsl2", "docker-desktop"; "" neither */

        /* Distribution, by os-release. */
        struct {
                char id[64];      /* "ubuntu" */
                char version[64]; /* "24.04" */
                char name[128];   /* "Ubuntu 24.04.1 LTS" */
                char variant[64];
                bool is_image; /* we are, or may be, in a container, and this is its image's */
        } distribution;

        /* Virtual machine or not; kind is static: "kvm", "xen", "hyper-v", "vmware" ... */
        PlatformTri is_virtual;
        const char *virtual_kind;
        char virtual_evidence[160];

        PlatformCloud cloud;
        const char *cloud_variant;    /* static; "" none */
        char cloud_evidence[256];     /* for UNKNOWN: what is missing */
        char cloud_instance_type[64]; /* where the firmware tells (AWS Nitro) */
        char cloud_instance_id[64];

        /* Whether this process (or, for a recorded tree, the machine) is in a container. */
        PlatformTri is_container;
        const char *container_kind; /* static: "kubernetes", "docker", "podman", "systemd"; "" */
        char container_evidence[160];

        PlatformRuntime runtimes[PLATFORM_RUNTIMES_MAX]; /* whose sockets are there */
        size_t n_runtimes;

        struct {
                PlatformTri is_present;   /* a distribution was recognised */
                const char *distribution; /* static: "k3s", "openshift"; "" */
                char evidence[160];
                const char *note;       /* static: one sentence an admin should know; "" */
                char kubelet_root[256]; /* without a slash at the end */
                char kubelet_evidence[160];
                PlatformTri kubelet_root_exists;
                PlatformTri kubelet_root_shared; /* mounts made below it propagate */
                const char *cni_bin;             /* static; "" unknown */
                const char *cni_conf;
        } kubernetes;

        PlatformNames block_filesystems; /* that the kernel has loaded; modules are not listed */
        PlatformNames other_filesystems; /* "nodev": overlay, nfs, tmpfs */
        PlatformNames features[_PLATFORM_FS_N]; /* /sys/fs/<fs>/features */
        uint32_t btrfs_sector_bytes[8];         /* what supported_sectorsizes lists; 0 ends */

        Facts *facts; /* owned */
};
typedef struct Platform Platform;

/**
 * platform_read() - read the facts below @root_fd and classify them
 * @is_live: @root_fd is this process's own "/"; see facts_read()
 * @platformp: caller frees with platform_free()
 *
 * Return: 0, however little could be learned; -ENOMEM.
 */
int platform_read(int root_fd, bool is_live, Platform **platformp);

/* platform_read() of this process's own "/". Return: 0; -errno. */
int platform_read_self(Platform **platformp);

/**
 * platform_classify() - judge @facts. Pure.
 * @facts: taken over, also on failure
 *
 * Return: 0; -ENOMEM.
 */
int platform_classify(Facts *facts, Platform **platformp);

void platform_free(Platform *platform);

/* "aws", "none"; "unknown" for UNKNOWN. Static. */
const char *platform_cloud_name(PlatformCloud cloud);

/* "ext4", "btrfs" ... Static. */
const char *platform_fs_name(PlatformFs fs);

#endif
