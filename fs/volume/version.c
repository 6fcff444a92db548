/* SPDX-License-Identifier: Apache-2.0 */
/* Versions as comparable numbers. */

#include "fs/volume/version.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define VERSION_PART_MAX 4095U
#define MAJOR_MAX        254U

/* Digits at *@textp, moved past them; larger numbers are taken as @max. */
static bool number(const char **textp, uint32_t max, uint32_t *valuep) {
        const char *p = *textp;
        uint32_t value = 0;

        if (*p < '0' || *p > '9')
                return false;
        for (; *p >= '0' && *p <= '9'; p++) {
                value = value * 10 + (uint32_t)(*p - '0');
                if (value > max)
                        value = max;
        }
        *textp = p;
        *valuep = value;
        return true;
}

int fs_version_parse(const char *text, uint32_t *versionp) {
        uint32_t major = 0, minor = 0, patch = 0;

        if (*text == 'v')
                text++;
        if (!number(&text, MAJOR_MAX, &major))
                return -EINVAL;
        if (*text == '.') {
                text++;
                if (!number(&text, VERSION_PART_MAX, &minor))
                        return -EINVAL;
                if (*text == '.') {
                        text++;
                        number(&text, VERSION_PART_MAX, &patch);
                }
        }
        *versionp = FS_VERSION(major, minor, patch);
        return 0;
}

char *fs_version_format(uint32_t version, char text[24]) {
        if (FS_VERSION_PATCH(version))
                snprintf(text, 24, "%u.%u.%u", FS_VERSION_MAJOR(version), FS_VERSION_MINOR(version),
                         FS_VERSION_PATCH(version));
        else
                snprintf(text, 24, "%u.%u", FS_VERSION_MAJOR(version), FS_VERSION_MINOR(version));
        return text;
}
