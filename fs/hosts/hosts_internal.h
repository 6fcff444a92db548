/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_HOSTS_HOSTS_INTERNAL_H
#define BERTH_FS_HOSTS_HOSTS_INTERNAL_H

/* Between the files that gather facts of a host. */

#include "fs/hosts/hosts.h"

void host_set_driver(FsHost *host, FsKind kind, FsTri tri, FsEvidence evidence);

/* @text: a whole kernel configuration. */
void host_apply_config(FsHost *host, const char *text);

/* The bits that such kernels have always and list no more. */
void host_apply_always(FsHost *host);

/* @text: the number in the stable series, which counts if it is of the host's release; NULL is
 * none. */
void host_apply_stable(FsHost *host, const char *text);

/* Asks the kernel about XFS; leaves @host as it is where that is not possible. */
void host_probe(FsHost *host, const char *cache_dir);

#endif
