/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_HOSTS_CLUSTER_H
#define BERTH_FS_HOSTS_CLUSTER_H

/*
 * Which hosts a new filesystem must suit. A volume moves, and the node that formats it does not
 * know where to: so a floor counts beside this node, and the facts of other nodes where somebody
 * collected them.
 */

#include "fs/hosts/hosts.h"

/* Upstream's oldest kernel that the distributions of a Kubernetes in service still run; every
 * xfsprogs has a profile for it. */
#define FS_CLUSTER_KERNEL "5.4"

/* "none" in place of a kernel: only this node, and what the file names. */
#define FS_CLUSTER_NONE "none"

/* Keys of a volume's context (a StorageClass parameter, or volumeAttributes of a PersistentVolume)
 * that stand in place of the node's own setting. */
#define FS_CLUSTER_KEY_MIN_KERNEL "berth.dev/fs-min-kernel"
#define FS_CLUSTER_KEY_PAGE_SIZES "berth.dev/fs-page-sizes"

/* Strings are borrowed; NULL or "" is the default. */
typedef struct FsCluster {
        const char *min_kernel; /* FS_CLUSTER_KERNEL */
        const char *page_sizes; /* "4K,64K"; this node's */
        const char *hosts_file; /* what `berth-csi host --json` printed on other nodes; no others */
} FsCluster;

/**
 * fs_cluster_hosts() - the set for fs_make_plan()
 * @here:   this node, which comes first
 * @hostsp: new array, caller frees with free()
 *
 * Return: 0; ERROR_INVALID for a setting that makes no sense; an errno of reading the file.
 */
int fs_cluster_hosts(const FsHost *here, const FsCluster *cluster, FsHost **hostsp,
                     size_t *n_hostsp, Error *err);

/**
 * fs_cluster_check() - what fs_cluster_hosts() will say of a node's own flags, said at its start
 *
 * The file may change later, and is read again for each new filesystem. "-" is refused: there is
 * only one reading of it.
 *
 * Return: as fs_cluster_hosts(), with the flag's name in @err.
 */
int fs_cluster_check(const FsCluster *cluster, Error *err);

#define FS_PAGE_SIZES_MAX 8

/* "4K,16K" to bytes. Return: how many; -EINVAL. */
int fs_page_sizes_parse(const char *text, uint32_t sizes[FS_PAGE_SIZES_MAX]);

/* Every kernel on every page size; NULL: as each release's name says, else 4K and page_assumed.
 * Return: as fs_cluster_hosts(). */
int fs_hosts_from_kernels(const char *const *kernels, size_t n_kernels, const char *page_sizes,
                          FsByteOrder byte_order, FsHost **hostsp, size_t *n_hostsp, Error *err);

/* @path: "-" is stdin. Return: as fs_cluster_hosts(). */
int fs_hosts_from_file(const char *path, FsHost **hostsp, size_t *n_hostsp, Error *err);

/* The hosts of @a, then those of @b; both are borrowed. */
int fs_hosts_join(const FsHost *a, size_t n_a, const FsHost *b, size_t n_b, FsHost **hostsp,
                  Error *err);

#endif
