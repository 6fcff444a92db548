/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SHARE_SOURCE_H
#define BERTH_CSI_SHARE_SOURCE_H

/* What a server's filesystem is called, as it is asked for and as mountinfo shows it. Pure. */

#include <stdbool.h>

/* Whether a mount of this type asks a server: "nfs4". */
bool share_is_remote(const char *fs_type);

/* Whether two spellings of "server:/export" are one: NFSv4 is shown by the kernel as it was walked,
 * without what a path may have too much of, NFSv3 as it was asked for (fs/nfs/namespace.c,
 * nfs_path()). Pure. */
bool share_is_same_source(const char *a, const char *b);

#endif
