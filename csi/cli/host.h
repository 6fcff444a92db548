/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_HOST_H
#define BERTH_CSI_CLI_HOST_H

/*
 * `berth-csi host`: what this machine is, for people, and as the node facts that
 * `berth-csi fs check --host` and `fs plan` read on another machine.
 *
 * Node facts are one JSON object. Its schema is stable: a key keeps its meaning, keys may be added
 * (readers skip what they do not know), and "schema" is raised when one has to change. null means
 * that it could not be learned; "unknown" lists why.
 *
 *   schema               1
 *   berth                version of the program that wrote it
 *   name                 host name
 *   architecture         uname -m, "aarch64"
 *   goarch               "arm64"
 *   page_size            bytes
 *   byte_order           "little", "big"
 *   kernel               release, "5.14.0-427.13.1.el9_4.x86_64"
 *   kernel_version       [5, 14, 0]
 *   kernel_suffix        "-427.13.1.el9_4.x86_64"
 *   kernel_family        "rhel9", "ubuntu" ...; "" none recognised
 *   kernel_backports     true: the vendor adds features to old kernels
 *   distribution         {id, version, name, variant, of: "host" | "container image"}
 *   virtualization       {is_virtual, kind, evidence}
 *   cloud                {name, variant, instance_type, instance_id, evidence}; name "none" if it
 *                        is no known cloud, null if that could not be learned
 *   board                device tree model, "" none
 *   desktop              "wsl2", "docker-desktop", ""
 *   container            {is_container, kind, evidence}
 *   runtimes             [{name, socket}]
 *   kubernetes           {distribution, evidence, note, kubelet_root, kubelet_evidence,
 *                        kubelet_root_exists, kubelet_root_shared, cni_bin_dir, cni_conf_dir};
 *                        distribution "none" if there is none
 *   filesystem_types     what the kernel has loaded, without "nodev" ones; a module may be missing
 *   filesystem_types_nodev
 *   filesystem_features  {"ext4": [...], ...} from /sys/fs; without a key the kernel shows none
 *   btrfs_sector_sizes   [4096, 65536], empty if the kernel does not tell
 *   filesystems          what fs/ concluded of this kernel's drivers, options and features, with
 *                        kernel, page_size and byte_order repeated: see fs_host_to_json()
 *   confidence           of the release as a sign of features: "high" an upstream-like kernel and
 *                        everything read; "medium" page size, byte order or a list is missing;
 *                        "low" a kernel with backports
 *   unknown              [{fact, reason}]
 */

#include "common/platform/platform.h"

#include <stdio.h>

struct json_t;

/* @argv[0] is "host". Return: exit code: 0; 1 it could not be read or written; 64 usage. */
int host_command(int argc, char **argv);

/* Node facts as above without "filesystems"; a new reference, NULL without memory. */
struct json_t *host_to_json(const Platform *platform);

/* For people. */
void host_print(const Platform *platform, FILE *file);

#endif
