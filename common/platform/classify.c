/* SPDX-License-Identifier: Apache-2.0 */

/* Facts to a Platform, part by part. */

#include "common/platform/classify_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>

int platform_classify(Facts *facts, Platform **platformp) {
        Platform *platform = calloc(1, sizeof(*platform));

        if (!platform) {
                facts_free(facts);
                return -ENOMEM;
        }
        platform->facts = facts;
        classify_machine(platform);
        classify_virtual(platform);
        classify_cloud(platform);
        classify_container(platform);
        platform->distribution.is_image = facts->is_live && platform->is_container != PLATFORM_NO;
        classify_kubernetes(platform);
        *platformp = platform;
        return 0;
}

int platform_read(int root_fd, bool is_live, Platform **platformp) {
        Facts *facts;
        int r = facts_read(root_fd, is_live, &facts);

        return r < 0 ? r : platform_classify(facts, platformp);
}

int platform_read_self(Platform **platformp) {
        cleanup(closep) int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : platform_read(fd, true, platformp);
}

void platform_free(Platform *platform) {
        if (!platform)
                return;
        facts_free(platform->facts);
        free(platform);
}

const char *platform_fs_name(PlatformFs fs) {
        static const char *const names[_PLATFORM_FS_N] = {
                [PLATFORM_FS_EXT4] = "ext4",
                [PLATFORM_FS_BTRFS] = "btrfs",
                [PLATFORM_FS_F2FS] = "f2fs",
                [PLATFORM_FS_EROFS] = "erofs",
        };

        return names[fs];
}
