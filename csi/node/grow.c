/* SPDX-License-Identifier: Apache-2.0 */

/* Growing a filesystem to the size of its device, by its own tools. */

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"
#include "csi/node/node_internal.h"

/* resize2fs holds block bitmaps of the whole; XFS and btrfs grow in the kernel. */
#define GROW_MEMORY_BYTES (UINT64_C(128) << 20)
/* A 16 TiB ext4 without flex_bg; all others end in seconds. */
#define GROW_TIMEOUT_MSECS UINT64_C(1800000)

/* The last line that says something; tools print progress and their version before it. */
static void last_line(const ExecResult *result, char *text, size_t n) {
        const char *from = result->n_errors > 0 ? result->errors : result->output;
        const char *line = "";

        while (*from) {
                size_t length = strcspn(from, "\n");

                if (length > 0)
                        line = from;
                from += length;
                from += strspn(from, "\n");
        }
        (void)snprintf(text, n, "%.*s", (int)strcspn(line, "\n"), line);
        str_make_utf8(text);
}

static int run(const Call *call, const char *const *argv, int worst_status, Error *err) {
        const ExecRequest request = {
                .argv = argv,
                .timeout_msecs = GROW_TIMEOUT_MSECS,
                .cancelled = call_is_aborted,
                .userdata = (void *)(uintptr_t)call,
                .is_expendable = true,
        };
        cleanup(exec_result_deinit) ExecResult result = {0};
        char line[256];
        int r;

        r = exec_run(&request, &result);
        if (r == -ENOENT)
                return error_set(err, ERROR_UNSUPPORTED, "%s is not installed", argv[0]);
        if (r < 0)
                return error_set_errno(err, r, "run %s", argv[0]);
        if (result.exit_status >= 0 && result.exit_status <= worst_status)
                return 0;
        last_line(&result, line, sizeof(line));
        /* Without CAP_SYS_RESOURCE, or with errors on the filesystem. */
        if (strstr(line, "ermission denied"))
                return error_set(err, ERROR_PRECONDITION,
                                 "%s: %s: the kernel refuses to grow it while it is mounted; it "
                                 "grows when it is staged the next time",
                                 argv[0], line);
        return error_set(err, ERROR_INTERNAL, "%s ended with %d: %s", argv[0], result.exit_status,
                         line);
}

int grow_mounted(Node *node, const Call *call, const char *fs_type, const char *device,
                 const char *mount_point, Error *err) {
        const char *const resize2fs[] = {"resize2fs", device, NULL};
        const char *const xfs_growfs[] = {"xfs_growfs", "-d", mount_point, NULL};
        const char *const btrfs[] = {"btrfs", "filesystem", "resize", "max", mount_point, NULL};
        const char *const *argv;
        QueueTicket ticket = {0};
        int r;

        if (fs_kind_from_type(fs_type) == FS_KIND_EXT)
                argv = resize2fs;
        else if (str_equal(fs_type, "xfs"))
                argv = xfs_growfs;
        else if (str_equal(fs_type, "btrfs"))
                argv = btrfs;
        else
                return error_set(err, ERROR_UNSUPPORTED, "%s cannot grow while it is mounted",
                                 fs_type);
        r = wait_for_place(call, node->queue, GROW_MEMORY_BYTES, call_is_aborted, &ticket, err);
        if (r < 0)
                return r;
        r = run(call, argv, 0, err);
        queue_leave(&ticket);
        return r;
}

int grow_unmounted_ext(Node *node, const Call *call, const char *device, Error *err) {
        /* resize2fs refuses what was not checked since it was mounted the last time. 1: corrected
         */
        const char *const e2fsck[] = {"e2fsck", "-f", "-p", device, NULL};
        const char *const resize2fs[] = {"resize2fs", device, NULL};
        QueueTicket ticket = {0};
        int r;

        r = wait_for_place(call, node->queue, GROW_MEMORY_BYTES, call_is_aborted, &ticket, err);
        if (r < 0)
                return r;
        r = run(call, e2fsck, 1, err);
        if (r == 0)
                r = run(call, resize2fs, 0, err);
        queue_leave(&ticket);
        return r;
}
